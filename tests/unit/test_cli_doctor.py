import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.cli.check import Check, Grade, bounded
from app.cli.machine_checks import check_configuration, check_disk, check_python, check_wrong_configuration
from app.cli.service_checks import check_api, check_model, check_models, check_search
from app.cli.store_checks import check_broker, check_circuits, check_mongo, check_redis, check_workers
from app.devstack.ports import free_ports
from app.settings import ConfigurationError, SearchProvider, Settings, load_settings


def settings(**given: Any) -> Settings:
    return Settings.model_construct(_fields_set=set(given), **given)


@asynccontextmanager
async def http_server(status: int) -> AsyncIterator[str]:
    """Answers everything with that status."""
    answers: list[asyncio.Task[Any] | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" % status)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1")
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*filter(None, answers))


@pytest.fixture
def nobody() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.mark.parametrize(
    ("status", "grade", "remedy"),
    [
        (200, Grade.OK, None),
        (401, Grade.FAIL, "check OPENAI_API_KEY"),
        (429, Grade.WARN, "billing"),
        (404, Grade.WARN, "/v1"),
    ],
)
async def test_the_model_endpoint_is_judged_by_its_answer(status: int, grade: Grade, remedy: str | None) -> None:
    async with http_server(status) as url:
        check = await check_model(settings(openai_base_url=url, openai_api_key=SecretStr("sk-secret")))

    assert check.grade is grade
    assert (remedy or "") in (check.remedy or "")
    assert "sk-secret" not in repr(check)


async def test_a_model_endpoint_that_is_not_there_fails(nobody: str) -> None:
    check = await check_model(settings(openai_base_url=f"http://{nobody}"))

    assert check.failed
    assert "OPENAI_BASE_URL" in (check.remedy or "")


@pytest.mark.parametrize(("status", "grade"), [(200, Grade.OK), (401, Grade.FAIL), (404, Grade.WARN)])
async def test_each_provider_that_may_be_asked_is_looked_at(status: int, grade: Grade) -> None:
    async with http_server(status) as url:
        given = load_settings(
            _env_file=None,
            anthropic_base_url=url,
            anthropic_api_key="sk-secret",
            azure_openai_endpoint=url,
            azure_openai_api_key="sk-secret",
            azure_openai_api_version="2025-04-01-preview",
            llm_endpoints={"local": {"base_url": url}},
            llm_peer_model="anthropic:claude-sonnet-5,azure:mine",
            llm_content_model="local:llama3.2:3b",
            llm_code_model="anthropic:claude-sonnet-5",
        )
        questions = check_models(given)
        checks = [await question for question in questions.values()]

    assert list(questions) == [check.name for check in checks] == ["model anthropic", "model azure", "model local"]
    assert {check.grade for check in checks} == {grade}
    assert "sk-secret" not in repr(checks)


async def test_a_provider_without_its_key_fails_and_names_the_setting() -> None:
    models = dict.fromkeys(("llm_peer_model", "llm_content_model", "llm_code_model"), "anthropic:claude-sonnet-5")

    [question] = check_models(load_settings(_env_file=None, **models)).values()
    check = await question

    assert (check.failed, check.remedy) == (True, "set ANTHROPIC_API_KEY")


async def test_no_model_is_a_warning_that_names_the_simulator() -> None:
    check = await check_model(settings())

    assert (check.grade, "simulator" in check.finding) == (Grade.WARN, True)


@pytest.mark.parametrize(("status", "grade"), [(200, Grade.OK), (404, Grade.OK), (401, Grade.FAIL)])
async def test_the_search_is_judged_by_its_answer(status: int, grade: Grade) -> None:
    async with http_server(status) as url:
        check = await check_search(settings(tavily_base_url=url, tavily_api_key=SecretStr("tvly-x")))

    assert check.grade is grade


async def test_a_search_turned_off_is_well() -> None:
    assert (await check_search(settings(web_search_provider=SearchProvider.NONE))).grade is Grade.OK
    assert (await check_search(settings())).grade is Grade.WARN


@pytest.mark.parametrize(("status", "grade"), [(200, Grade.OK), (503, Grade.FAIL)])
async def test_a_running_api_must_be_ready(status: int, grade: Grade) -> None:
    async with http_server(status) as url:
        assert (await check_api(url)).grade is grade


async def test_an_api_that_does_not_run_is_only_a_warning(nobody: str) -> None:
    assert (await check_api(f"http://{nobody}")).grade is Grade.WARN


async def test_stores_that_are_down_fail_with_the_variable_to_correct(nobody: str) -> None:
    redis = settings(redis_url=SecretStr(f"redis://{nobody}"))

    for check in (await check_redis(redis), await check_broker(redis)):
        assert check.failed
        assert "REDIS_URL" in (check.remedy or "")
    amqp = await check_broker(settings(celery_broker_url=SecretStr(f"amqp://u:secret@{nobody}")))
    assert amqp.failed
    assert "secret" not in repr(amqp)


async def test_sqs_out_of_reach_is_a_failure_with_a_hint() -> None:
    nobody = SecretStr(f"sqs://key:secret@127.0.0.1:{free_ports(1)[0]}")

    check = await check_broker(settings(celery_broker_url=nobody, sqs_queue_url_prefix=None))

    assert check.grade is Grade.FAIL
    assert "SQS_QUEUE_URL_PREFIX" in (check.remedy or "")


@pytest.fixture
def unclosed_sockets() -> Iterator[None]:
    """PyMongo 4.20 leaves the socket of a refused connection to the collector, which then complains."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.usefixtures("unclosed_sockets")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_a_store_that_is_down_fails_within_the_patience(nobody: str) -> None:
    down = settings(mongo_uri=SecretStr(f"mongodb://{nobody}"), mongo_timeout_sec=0.1)

    checks = await asyncio.gather(
        bounded("mongo", check_mongo(down)),
        bounded("workers", check_workers(down)),
        bounded("circuits", check_circuits(down)),
    )

    assert all(check.failed and check.remedy for check in checks)


async def test_a_check_that_hangs_is_cut_off() -> None:
    async def hang() -> Check:
        await asyncio.Event().wait()
        raise AssertionError

    check = await bounded("mongo", hang(), patience=timedelta(milliseconds=10))

    assert (check.name, check.grade) == ("mongo", Grade.FAIL)
    assert "no answer in 0.01 s" in check.finding


def test_each_wrong_variable_is_a_failure_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGO_URI", "http://secret")
    monkeypatch.setenv("WORKER_SLOTS", "many")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(_env_file=None)

    checks = check_wrong_configuration(caught.value)

    assert [check.name for check in checks] == ["configuration MONGO_URI", "configuration WORKER_SLOTS"]
    assert "mongodb://" in (checks[0].remedy or "")
    assert "secret" not in repr(checks)


def test_the_configuration_is_named_and_never_shown() -> None:
    check = check_configuration(settings(openai_api_key=SecretStr("sk-secret"), log_level="INFO"))

    assert check.finding == "set: LOG_LEVEL, OPENAI_API_KEY; the rest is default"


def test_an_old_python_fails() -> None:
    assert check_python((3, 10, 9)).failed
    assert check_python((3, 11, 0)).grade is Grade.OK


def test_the_disk_of_a_folder_that_is_not_there_yet_is_measured(tmp_path: Path) -> None:
    assert "GiB free" in check_disk(tmp_path / "not" / "there").finding
