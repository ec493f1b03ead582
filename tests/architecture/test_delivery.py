"""The image, the composition and the workflow are what the documentation says of them."""

import re
from typing import Any

import yaml

from tests.architecture.tree import ROOT

STORES = {"mongo", "valkey"}
PRODUCT = {"api", "worker"}


def _yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def _services() -> dict[str, Any]:
    services: dict[str, Any] = _yaml("infra/compose.yaml")["services"]
    return services


def _instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, comments and line breaks taken out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, argument) for name, _, argument in (line.partition(" ") for line in joined.splitlines())]


def _final_stage() -> list[tuple[str, str]]:
    instructions = _instructions()
    last = max(place for place, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[last:]


def _images() -> list[str]:
    """The base images of the Dockerfile and of the composition, without the ones built here."""
    stages = {argument.rpartition(" AS ")[2] for name, argument in _instructions() if name == "FROM"}
    bases = [argument.partition(" AS ")[0] for name, argument in _instructions() if name == "FROM"]
    composed = [service["image"] for service in _services().values() if "build" not in service]
    return [image for image in (*bases, *composed) if image not in stages]


def test_the_composition_is_the_product_and_its_two_stores() -> None:
    services = _services()

    assert set(services) == PRODUCT | STORES
    for name in PRODUCT:
        needs = {store: how["condition"] for store, how in services[name]["depends_on"].items()}
        assert needs == dict.fromkeys(STORES, "service_healthy")


def test_every_container_is_hardened_watched_and_restarted() -> None:
    for name, service in _services().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["restart"] == "unless-stopped", name
        assert "healthcheck" in service, name


def test_only_the_api_is_published_and_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in _services().items() if "ports" in service}

    assert published == {"api": ["127.0.0.1:8000:8000"]}
    assert all(_services()[store]["networks"] == ["stores"] for store in STORES)
    assert _yaml("infra/compose.yaml")["networks"]["stores"] == {"internal": True}


def test_the_composition_has_no_default_passwords() -> None:
    text = (ROOT / "infra/compose.yaml").read_text(encoding="utf-8")

    uses = re.findall(r"\$\{(\w+)(.?.?)", text)

    assert uses
    assert all(how == ":?" for _, how in uses), "a missing password must stop the start"


def test_images_are_pinned_by_a_tag() -> None:
    for image in _images():
        tag = image.rpartition(":")[2] if ":" in image else ""
        assert tag not in {"", "latest"}, image


def test_the_image_runs_as_a_user_without_rights() -> None:
    users = [argument for name, argument in _final_stage() if name == "USER"]

    assert users
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", users[-1]), "a number, so that a policy can check it"


def test_everything_in_the_image_is_verified_against_the_lock() -> None:
    installs = [argument for name, argument in _instructions() if name == "RUN" and "install" in argument]

    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install, install
    assert any("infra/locks/runtime.txt" in install for install in installs)


def test_the_final_stage_installs_nothing() -> None:
    commands = " ".join(argument for name, argument in _final_stage() if name == "RUN")

    assert not re.search(r"\b(pip|apt|apt-get|apk|curl|wget)\b", commands)


def test_the_image_starts_the_command_and_stops_on_sigterm() -> None:
    final = dict(_final_stage())

    assert final["ENTRYPOINT"] == '["orchestrate"]'
    assert final["CMD"] == '["api"]'
    assert final["STOPSIGNAL"] == "SIGTERM"
    assert "/health/live" in final["HEALTHCHECK"]


def test_the_workflow_runs_both_commands_on_every_python_against_real_stores() -> None:
    job = _yaml(".github/workflows/ci.yml")["jobs"]["test"]

    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert set(job["services"]) == STORES
    assert all("--health-cmd" in service["options"] for service in job["services"].values())
    assert {"TEST_MONGO_URI", "TEST_REDIS_URL"} <= set(job["env"])
    assert {"make check", "make test"} <= {step.get("run") for step in job["steps"]}


def test_the_workflow_audits_the_lock_and_builds_the_image() -> None:
    jobs = _yaml(".github/workflows/ci.yml")["jobs"]

    commands = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    actions = {step["uses"].partition("@")[0] for job in jobs.values() for step in job["steps"] if "uses" in step}

    assert "pip-audit" in commands
    assert "infra/locks/runtime.txt" in commands
    assert "docker build" in commands
    assert "hadolint/hadolint-action" in actions


def test_every_kind_of_dependency_is_kept_up_to_date() -> None:
    updates = _yaml(".github/dependabot.yml")["updates"]

    assert {(update["package-ecosystem"], update["directory"]) for update in updates} == {
        ("pip", "/"),
        ("pip", "/infra/locks"),
        ("github-actions", "/"),
        ("docker", "/"),
    }
