"""The admin port: API and console as one aiohttp application behind one lock."""

import socket

from aiohttp import web

from canary.api.closed import lock
from canary.api.routes import SERVICES, add_routes
from canary.api.services import Services
from canary.app.listeners import address_of, bind, refuse_open_admin
from canary.console.pages import add_pages

_BODY_BYTES = 1_048_576


def admin_application(services: Services, *, token: str | None, host: str) -> web.Application:
    """Everything that the admin port answers."""
    app = web.Application(middlewares=[lock(token=token, host=host)], client_max_size=_BODY_BYTES)
    app[SERVICES] = services
    add_routes(app)
    add_pages(app, services.use)
    return app


class AdminPort:
    """Listens from its making on; serves between `start` and `stop`."""

    def __init__(self, services: Services, *, listen: str, token: str | None) -> None:
        """Raises Refused (off loopback without a token) or CanaryError (the port is taken)."""
        refuse_open_admin(listen, token=token, what="the admin port")
        self._listener: socket.socket = bind(listen, 1)[0]
        app = admin_application(services, token=token, host=address_of(listen)[0])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    async def start(self) -> None:
        """Begins to answer."""
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()

    async def stop(self) -> None:
        """Answers what came, then closes."""
        await self._runner.cleanup()
        self._listener.close()
