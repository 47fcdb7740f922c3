"""Applications that stand before no gate: their answers carry its headers all the same."""

from appliance.web.asgi import App, Message, Receive, Scope, Send
from appliance.web.headers import secured


def secured_application(app: App) -> App:
    """`app`, whose answers tell browsers what the gate's would."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def secure(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", [])
                headers = secured(own, path=str(scope["path"]), nonce="", https=False)
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, secure)

    return answer
