"""The simulator's own endpoints under `/_sim`, for programs on this machine: orders, the scenario, the log."""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.llm.simulator.call_log import CallLog
from app.llm.simulator.failures import INVALID, failure
from app.llm.simulator.faults import FaultBoard, parse_fault
from app.llm.simulator.player import Player
from app.llm.simulator.scenario import Scenario
from app.llm.simulator.scenario_files import CALM, ScenarioInvalid, load_scenario, scenario_names, scenario_of
from app.llm.simulator.waiting import WaitingRoom

Endpoint = Callable[[Request], Awaitable[Response]]
_LARGEST_SEED = 2**63 - 1


class Control:
    """What the process was told to get wrong, and what it was asked."""

    def __init__(self, board: FaultBoard, log: CallLog, room: WaitingRoom, player: Player) -> None:
        self.player = player
        self._board = board
        self._log = log
        self._room = room

    def routes(self) -> list[Route]:
        def route(path: str, endpoint: Endpoint, method: str) -> Route:
            return Route(f"/_sim/{path}", _from_this_machine(endpoint), methods=[method])

        return [
            route("faults", self._order_fault, "POST"),
            route("faults", self._clear_faults, "DELETE"),
            route("scenario", self._show_scenario, "GET"),
            route("scenario", self._play_scenario, "POST"),
            route("scenario", self._stop_scenario, "DELETE"),
            route("requests", self._show_requests, "GET"),
            route("requests", self._forget_requests, "DELETE"),
        ]

    async def _order_fault(self, request: Request) -> Response:
        try:
            self._board.add(parse_fault(await request.json()))
        except (AttributeError, ValueError) as error:
            return failure(400, str(error), INVALID)
        return Response(status_code=204)

    async def _clear_faults(self, _request: Request) -> Response:
        self._board.clear()
        return Response(status_code=204)

    async def _show_scenario(self, _request: Request) -> Response:
        return JSONResponse(self.player.report())

    async def _play_scenario(self, request: Request) -> Response:
        try:
            scenario, seed = _ordered_scenario(await request.json())
        except ScenarioInvalid as error:
            return failure(400, error.message, INVALID)
        except (ValueError, RecursionError):
            return failure(400, "the body is not JSON", INVALID)
        self.player = Player(scenario, seed=seed)
        return JSONResponse(self.player.report())

    async def _stop_scenario(self, _request: Request) -> Response:
        self.player = Player(load_scenario(CALM))
        return Response(status_code=204)

    async def _show_requests(self, _request: Request) -> Response:
        return JSONResponse({**self._log.report(), "waiting": len(self._room)})

    async def _forget_requests(self, _request: Request) -> Response:
        self._log.clear()
        return Response(status_code=204)


def _ordered_scenario(order: Any) -> tuple[Scenario, int]:
    """`{"scenario": a built-in name or a whole scenario, "seed": 7}`. Files are for the command line only."""
    if not isinstance(order, dict) or not order.keys() <= {"scenario", "seed"} or "scenario" not in order:
        raise ScenarioInvalid('say {"scenario": NAME or a whole scenario, "seed": a number or nothing}')
    wanted, seed = order["scenario"], order.get("seed", 0)
    if type(seed) is not int or not 0 <= seed <= _LARGEST_SEED:
        raise ScenarioInvalid("seed: a whole number from 0 to 2^63-1")
    if isinstance(wanted, str):
        if wanted not in scenario_names():
            raise ScenarioInvalid(f"there is no scenario {wanted!r}, only {', '.join(scenario_names())}")
        return load_scenario(wanted), seed
    return scenario_of(wanted), seed


def _from_this_machine(endpoint: Endpoint) -> Endpoint:
    async def guarded(request: Request) -> Response:
        if request.client is None or not _is_loopback(request.client.host):
            return failure(403, "this is for programs on the simulator's own machine", INVALID)
        return await endpoint(request)

    return guarded


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a proxy may hand on any text
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
