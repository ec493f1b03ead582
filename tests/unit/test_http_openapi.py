import json
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.http.openapi import install_openapi, operation_id, responses, writing


class Order(BaseModel):
    count: int


def document() -> dict[str, Any]:
    app = FastAPI(generate_unique_id_function=operation_id)

    @app.post("/v1/things", responses=writing(409))
    async def create_thing(order: Order) -> Order:
        return order

    @app.get("/v1/things/{thing_id}", responses=responses(404))
    async def get_thing(thing_id: int) -> Order:
        return Order(count=thing_id)

    @app.get("/health")
    async def health() -> str:
        return "ok"

    install_openapi(app, public_paths={"/health"})
    return app.openapi()


def test_operations_are_named_after_their_functions() -> None:
    paths = document()["paths"]

    assert paths["/v1/things"]["post"]["operationId"] == "create_thing"
    assert paths["/v1/things/{thing_id}"]["get"]["operationId"] == "get_thing"


def test_every_error_is_a_problem_with_an_example_of_its_own() -> None:
    answers = document()["paths"]["/v1/things"]["post"]["responses"]

    errors = {status: answer for status, answer in answers.items() if int(status) >= 400}
    assert set(errors) == {"401", "403", "405", "409", "413", "415", "422", "429", "500", "503"}
    for status, answer in errors.items():
        (media_type,) = answer["content"]
        example = answer["content"][media_type]["example"]
        assert media_type == "application/problem+json"
        assert example["status"] == int(status)
        assert example["type"].endswith(example["error"]["code"])
    assert "Retry-After" in errors["429"]["headers"]


def test_the_frameworks_own_form_of_an_invalid_request_is_gone() -> None:
    text = json.dumps(document())

    assert "HTTPValidationError" not in text
    assert "422" in document()["paths"]["/v1/things/{thing_id}"]["get"]["responses"]


def test_every_reference_has_its_schema() -> None:
    described = document()
    text = json.dumps(described)

    wanted = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert wanted == {"Order", "Problem", "ErrorBody"} == set(described["components"]["schemas"])


def test_everything_but_the_public_paths_needs_a_key() -> None:
    described = document()

    assert described["security"] == [{"ApiKey": []}, {"Bearer": []}]
    assert described["paths"]["/health"]["get"]["security"] == []
    assert "security" not in described["paths"]["/v1/things"]["post"]


def test_the_document_is_made_once() -> None:
    app = FastAPI()
    install_openapi(app, public_paths=())

    assert app.openapi() is app.openapi()
