"""An admission webhook: it refuses what is labelled `bad`. Arguments: certificate, key, address."""

import http.server
import json
import ssl
import sys


class Webhook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = review["request"]
        bad = request["object"]["metadata"].get("labels", {}).get("bad") == "yes"
        response = {"uid": request["uid"], "allowed": not bad, "status": {"message": "bad things are not wanted"}}
        answer = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


certificate, key, address = sys.argv[1:]
server = http.server.ThreadingHTTPServer((address, 0), Webhook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening on", server.server_port, flush=True)
server.serve_forever()
