"""A child as the supervisor knows it: says that it is ready, serves its name on its queues, drains when asked."""

import os
import selectors
import socket
import sys
import time
from pathlib import Path


def main(arguments: list[str]) -> int:
    """control-fd listen-fd(or -) name folder; `folder/break` makes a start fail, `folder/deaf-NAME` makes it ignore drain."""
    control_fd, listen_fd, name, folder = arguments
    home = Path(folder)
    (home / f"{name}.{os.getpid()}").touch()
    if (home / f"break-{name}").exists():
        return 3
    control = socket.socket(fileno=int(control_fd))
    control.setblocking(True)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ, "control")
    if listen_fd != "-":
        selector.register(socket.socket(fileno=int(listen_fd)), selectors.EVENT_READ, "queue")
    control.send(b"ready\n")
    while True:
        for key, _ in selector.select():
            if key.data == "queue":
                _answer(key.fileobj, name)
                continue
            words, descriptors, _, _ = socket.recv_fds(control, 4096, 4)
            for descriptor in descriptors:
                selector.register(socket.socket(fileno=descriptor), selectors.EVENT_READ, "queue")
            with (home / "words").open("a") as heard:
                heard.write(f"{name} {words.decode() or 'EOF'} {time.monotonic()}\n")
            if not words or (b"drain" in words and not (home / f"deaf-{name}").exists()):
                return 0


def _answer(listener: socket.socket, name: str) -> None:
    try:
        client, _ = listener.accept()
    except BlockingIOError:
        return
    client.sendall(f"{name}\n".encode())
    client.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
