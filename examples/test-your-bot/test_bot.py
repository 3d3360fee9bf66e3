"""A bot, tested without a phone: python3 test_bot.py  (WHARF names the program, "wharf" by default)"""
import json, os, socket, subprocess, tempfile, threading, time, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

KEY = "a-key-of-at-least-thirty-two-letters"
SUPPORT, MARIA = "15550001111", "15550003333"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


API, SANDBOX = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"


def call(method, url, body=None):
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {KEY}")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def wait_for(ask):
    end = time.monotonic() + 10
    while True:
        try:
            if found := ask():
                return found
        except OSError:
            pass
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


class Bot(BaseHTTPRequestHandler):
    """The bot under test: it answers texts, and lets everything else pass."""

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(204)
        self.end_headers()
        message = event["data"]
        if event["type"] != "message.received" or message["type"] != "text":
            return
        reply = {"to": message["chat"], "type": "text", "text": {"body": f"You said: {message['text']['body']}"}}
        call("POST", f"{API}/v1/accounts/{event['account']}/messages", reply)

    def log_message(self, *args):
        pass


def test_the_bot_answers_texts():
    write = lambda message: call("POST", f"{SANDBOX}/phones/{MARIA}/messages", {"to": SUPPORT} | message)
    write({"image": {"data": "aGVsbG8="}})
    write({"text": "hello"})
    read = lambda: [m["text"] for m in call("GET", f"{SANDBOX}/phones/{MARIA}/messages")["data"]]
    assert wait_for(read) == ["You said: hello"]


def main():
    wharf, data = os.environ.get("WHARF", "wharf"), tempfile.TemporaryDirectory()
    bot = HTTPServer(("127.0.0.1", 0), Bot)
    threading.Thread(target=bot.serve_forever, daemon=True).start()
    settings = os.environ | {
        "WHARF__LISTEN": API.removeprefix("http://"), "WHARF__DATA": f"{data.name}/data", "WHARF__LOG": "error",
        "WHARF__NETWORK__KIND": "sandbox", "WHARF__NETWORK__URL": SANDBOX.replace("http", "ws") + "/ws/chat",
        "WHARF_ADMIN_KEY": KEY, "RUST_LOG": "error",
    }
    running = [subprocess.Popen([wharf, "sandbox", "--listen", SANDBOX.removeprefix("http://"), "--media", "127.0.0.1:0"], env=settings,
                                stdout=subprocess.DEVNULL),
               subprocess.Popen([wharf, "serve"], env=settings, stdout=subprocess.DEVNULL)]
    try:
        wait_for(lambda: call("GET", f"{API}/readyz") and call("GET", f"{SANDBOX}/phones"))
        for number in (SUPPORT, MARIA):
            call("POST", f"{SANDBOX}/phones", {"number": number})
        call("POST", f"{API}/v1/accounts", {"id": "support"})
        call("POST", f"{API}/v1/accounts/support/start")
        code = call("GET", f"{API}/v1/accounts/support/qr")["code"]
        call("POST", f"{SANDBOX}/phones/{SUPPORT}/scan", {"qr": code})
        wait_for(lambda: call("GET", f"{API}/v1/accounts/support")["state"] == "online")
        hook = {"url": f"http://127.0.0.1:{bot.server_port}/", "events": ["message.received"]}
        call("POST", f"{API}/v1/webhooks", hook)
        test_the_bot_answers_texts()
        print("ok")
    finally:
        for program in running:
            program.terminate()
            program.wait()


if __name__ == "__main__":
    main()
