/** Sign-in: shows the password, counts down the wait, sends once. The form works without it. */

const form = document.querySelector("form");
const send = form.querySelector("[type=submit]");
const password = form.querySelector("[name=password]");
const show = form.querySelector("[data-action=show-password]");
const wait = form.querySelector("[data-wait-s]");

const showText = show.textContent;
const sendText = send.textContent;

show.hidden = false;
show.addEventListener("click", () => {
  const shown = password.type === "text";
  password.type = shown ? "password" : "text";
  show.textContent = shown ? showText : show.dataset.hide;
  show.setAttribute("aria-pressed", String(!shown));
});

form.addEventListener("submit", () => {
  password.type = "password"; // browsers offer to keep only what is a password when sent
  send.disabled = true;
  send.textContent = send.dataset.sending;
});

// The back button can bring this page back as it was left.
addEventListener("pageshow", () => {
  if (wait === null) allow();
});

function allow() {
  send.disabled = false;
  send.textContent = sendText;
}

if (wait !== null) {
  const until_ms = performance.now() + Number(wait.dataset.waitS) * 1000;
  send.disabled = true;
  const timer = setInterval(() => {
    const left_s = Math.ceil((until_ms - performance.now()) / 1000);
    const { next, now } = wait.dataset;
    wait.textContent = left_s > 0 ? next.replace("{seconds}", left_s) : now;
    if (left_s > 0) return;
    clearInterval(timer);
    allow();
  }, 250);
}
