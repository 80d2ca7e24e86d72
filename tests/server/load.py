"""How much memory the server takes for connections: idle ones and active streams beside each other.

  python3 tests/server/load.py build/myna [IDLE [STREAMS]]      (1000 and 100 when nothing is said)

Prints the resident memory before, with idle connections, and the most while the streams run, without what the mapped file takes. No part of `make test`."""
import http.client
import json
import os
import resource
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
IDLE = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
STREAMS = int(sys.argv[3]) if len(sys.argv) > 3 else 100
from test_http import Server  # noqa: E402


def memory(pid):
    """Private resident bytes, in MB: what the mapped model file takes is not counted."""
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)
    return int(fields["RssAnon"].split()[0]) / 1000


def stream(server, results):
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    c.request("POST", "/v1/completions", json.dumps({"prompt": "Once upon a time", "max_tokens": 200, "stream": True, "ignore_eos": True}))
    body = c.getresponse().read()
    results.append(body.endswith(b"data: [DONE]\n\n"))
    c.close()


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    server = Server("-np", "16", "--max-connections", str(IDLE + STREAMS + 50), "--queue", str(STREAMS))
    try:
        server.call("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 4})
        before = memory(server.p.pid)
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(IDLE)]
        for s in idle:  # each was served once and is kept
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for s in idle:
            assert s.recv(4096).startswith(b"HTTP/1.1 200")
        with_idle = memory(server.p.pid)
        results, most = [], 0
        threads = [threading.Thread(target=stream, args=(server, results)) for _ in range(STREAMS)]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            most = max(most, memory(server.p.pid))
            time.sleep(0.05)
        assert results == [True] * STREAMS, results.count(True)
        print(json.dumps({"idle": IDLE, "streams": STREAMS, "MB_before": round(before, 1), "MB_with_idle": round(with_idle, 1), "MB_most": round(most, 1),
                          "MB_for_connections": round(most - before, 1)}))
        for s in idle:
            s.close()
    finally:
        assert server.stop() == 0


if __name__ == "__main__":
    main()
