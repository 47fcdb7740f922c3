"""Applications that stand before no gate: headers and language are as behind it all the same."""

from appliance.texts import Languages
from appliance.web.access.headers import Answered, secured
from appliance.web.asgi import App, Message, Receive, Scope, Send, note_language, read_target


def secured_application(app: App, languages: Languages) -> App:
    """`app`, whose answers tell browsers what the gate's would, and whose scope has the texts."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            read_target(scope)
            note_language(scope, languages)

        async def secure(message: Message) -> None:
            if message["type"] == "http.response.start":
                own, request = message.get("headers", []), Answered(str(scope["path"]))
                headers = secured(own, request, status=message["status"])
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, secure)

    return answer
