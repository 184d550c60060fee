"""`router serve`: run the server until it is told to stop."""

from __future__ import annotations

import argparse
import errno
import socket
import ssl

from ..settings import Settings
from . import options
from .terminal import CommandError


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.database(parser)
    parser.add_argument("--listen", metavar="HOST:PORT", help="where (default: server.listen; port 0: any free one)")
    parser.add_argument("--workers", type=int, choices=[1], default=1, help="one process serves everything")
    parser.add_argument("--log-format", choices=["text", "json"], default="text", help="how the log is written")


def run(args: argparse.Namespace) -> int:
    """Serve. Logs go to standard error."""
    from .. import logs, serving
    from .configured import path_of, settings_of, sourced_here

    settings = settings_of(args)
    logs.set_up(args.log_format)
    with sourced_here(path_of(args)):
        try:
            return serving.run(settings, lambda: settings_of(args))
        except ssl.SSLError as error:
            raise CommandError(f"server.tls_certificate: cannot be loaded: {error.reason or error}") from None
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandError(_why(settings, error)) from None
        finally:
            logs.flush()


def _why(settings: Settings, error: OSError) -> str:
    listen = settings.server.listen
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {listen}: something listens there already; `--listen 127.0.0.1:0` takes any free port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"cannot listen on {listen}: not allowed; ports below 1024 need rights, `--listen` takes another"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"cannot listen on {listen}: this machine has no such address"
    return str(error)
