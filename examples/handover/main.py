"""Hands a conversation over to a person as soon as the server tells of a crisis in it, here in Chatwoot.

    pip install -r requirements.txt
    export PSYCHECHAT_ESCALATION_SECRET=whsec_…     # the server's: `openssl rand -base64 32`
    export CHATWOOT_URL=https://chat.example CHATWOOT_TOKEN=… CHATWOOT_TEAM=7
    python main.py                                  # listens on http://127.0.0.1:9000, or PORT

and in the server's settings:

    escalation: {url: "http://127.0.0.1:9000/crises", secret_file: /run/secrets/escalation}

Your bot names its turns by the conversation, so that an event leads back to it: `metadata.session_id` is
`chatwoot/ACCOUNT/CONVERSATION`. Another help desk needs another `hand_over`.
"""

import os
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["PSYCHECHAT_ESCALATION_SECRET"])
desk = httpx.Client(
    base_url=os.environ["CHATWOOT_URL"],
    headers={"api_access_token": os.environ["CHATWOOT_TOKEN"]},
    timeout=1.5,  # three requests, and the server waits for five seconds
)
told = {}  # by webhook-id: when. A message may come twice.


def hand_over(event):
    """Open for the team's agents, urgent, with a note that they alone see. Raises httpx.HTTPError."""
    conversation = re.fullmatch(r"chatwoot/(\d+)/(\d+)", event["session_id"] or "")
    if not conversation:
        raise LookupError(f"no conversation of ours: request {event['request_id']}")
    path = "/api/v1/accounts/{}/conversations/{}".format(*conversation.groups())
    note = f"Possible crisis: {event['severity']}, {event['kind'] or 'no kind'}. A person should answer now."
    for action, body in (
        ("toggle_status", {"status": "open"}),  # from pending, the bot's
        ("assignments", {"team_id": int(os.environ["CHATWOOT_TEAM"])}),
        ("messages", {"content": note, "private": True}),
    ):
        desk.post(f"{path}/{action}", json=body).raise_for_status()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(self.receive(self.rfile.read(int(self.headers["content-length"]))))
        self.end_headers()

    def receive(self, body):
        """A status. What is not 2xx the server sends again (503), or gives up and counts as lost (401)."""
        try:
            event = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            return 401
        message = self.headers["webhook-id"]
        if message in told or event["type"] not in ("crisis.detected", "crisis.worse"):  # a drill pages nobody
            return 204
        try:
            hand_over(event)
        except httpx.HTTPError:
            return 503
        except LookupError as error:
            print(error, flush=True)  # page somebody: a crisis that no help desk knows
            return 204
        told[message] = time.time()
        for old in [name for name, when in told.items() if when < time.time() - 3600]:
            del told[old]
        return 204

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver).serve_forever()
