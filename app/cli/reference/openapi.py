"""`openapi.json`: the API's own description, made without any server running."""

import json
from importlib import import_module

from app.settings import Settings


def openapi_page() -> str:
    # By name: the command line and the API are neighbours that do not import each other, and this one page is
    # about the API.
    application = import_module("app.main").create_app(Settings.model_construct())
    return json.dumps(application.openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
