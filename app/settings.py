"""Every knob of the product, read from the environment (and `.env` in the working folder), typed and frozen.

The field descriptions are the source of `docs/reference/configuration.md`. A wrong value stops the start with the
variable's name and what to write instead (`ConfigurationError`).
"""

import re
from datetime import timedelta
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from app.context_settings import ContextSettings
from app.errors import OrchestratorError
from app.governance_settings import GovernanceSettings
from app.model_settings import ModelSettings
from app.setting_conflicts import conflicts_of
from app.setting_plugins import PluginSettings
from app.setting_types import ArtifactLocation, Counts, HttpUrl, QueueNames, Weights, checked_http_url


class ConfigurationError(OrchestratorError):
    code = "CONFIGURATION_ERROR"
    title = "Wrong configuration"


class Environment(StrEnum):
    LOCAL = "local"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"


class SearchProvider(StrEnum):
    TAVILY = "tavily"
    NONE = "none"


class LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Role(StrEnum):
    """What a key may do: read, also create and steer work, or administer the tenant."""

    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"


BROKER_SCHEMES = frozenset({"redis", "rediss", "sqs", "amqp", "amqps", "pyamqp"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _scheme_of(*allowed: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        scheme = urlsplit(value.get_secret_value()).scheme
        if scheme not in allowed:
            raise ValueError(f"write a URL that begins with {' or '.join(f'{s}://' for s in sorted(allowed))}")
        return value

    return AfterValidator(check)


RedisUrl = Annotated[SecretStr, _scheme_of("redis", "rediss")]
BrokerUrl = Annotated[SecretStr, _scheme_of(*BROKER_SCHEMES)]
MongoUri = Annotated[SecretStr, _scheme_of("mongodb", "mongodb+srv")]


class ApiKey(BaseModel):
    """One entry of API_KEYS: the secret, the tenant it opens and what it may do there."""

    model_config = ConfigDict(frozen=True)

    secret: SecretStr
    tenant_id: str
    role: Role


class Settings(ContextSettings, GovernanceSettings, ModelSettings, PluginSettings):
    model_config = SettingsConfigDict(
        env_file=".env", frozen=True, extra="ignore", case_sensitive=False, env_ignore_empty=True
    )

    # --- the product
    environment: Environment = Field(
        Environment.LOCAL, description="Where this runs. `production` refuses insecure defaults."
    )
    app_name: str = Field("agent-orchestrator", max_length=64, description="Name in logs, traces and titles.")
    log_level: LogLevel = Field(LogLevel.INFO, description="Lowest level that is written.")
    default_tenant: str = Field(
        "default", description="Tenant of requests when no key is configured, and of keys that name none."
    )

    # --- stores and broker
    mongo_uri: MongoUri = Field(
        SecretStr("mongodb://127.0.0.1:27017"),
        description="MongoDB connection string. `orchestrate up` starts an embedded store when it is not set.",
    )
    mongo_db_name: str = Field("agent_orchestrator", max_length=63, description="Database name.")
    mongo_timeout_sec: float = Field(
        5.0, gt=0, le=60, description="Longest wait for one MongoDB operation, server selection included."
    )
    redis_url: RedisUrl | None = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey for wake-ups and rate limits; may be lost without losing work. "
        "`none` does without: waiting clients are then answered by polling, limits are per process.",
    )
    celery_broker_url: BrokerUrl | None = Field(
        None, description="Celery broker (redis://, sqs://, amqp://). Default: REDIS_URL."
    )
    sqs_queue_url_prefix: str | None = Field(
        None,
        description="URL of the SQS queues up to their own names, such as `agent_tasks`, as in "
        "`https://sqs.eu-central-1.amazonaws.com/123456789012/prod-`; they are then neither looked up nor created.",
    )

    # --- routing
    router_min_confidence: float = Field(
        0.5, ge=0, le=1, description="Below this the router's choice ends in UNKNOWN_TASK_TYPE."
    )

    # --- web search
    web_search_provider: SearchProvider = Field(
        SearchProvider.TAVILY, description="Search behind the ContentAgent; `none` turns it off."
    )
    tavily_api_key: SecretStr | None = Field(None, description="Tavily key. Without one, search is off.")
    tavily_base_url: HttpUrl | None = Field(
        None, description="Tavily-compatible endpoint, for instance the simulator's. Default: Tavily."
    )
    web_search_max_results: int = Field(5, ge=1, le=20, description="Sources fetched per task.")

    # --- API
    api_host: str = Field("127.0.0.1", description="Address the API listens on; loopback unless you say so.")
    api_port: int = Field(8000, ge=0, le=65535, description="Port of the API; 0 picks a free one.")
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = Field(
        (),
        description="Comma-separated `key`, `key:tenant` or `key:tenant:role` (viewer, member, admin). "
        "Empty: authentication is off.",
    )
    event_token_secret: SecretStr | None = Field(
        None, description="Signs the short-lived `?token=` of event streams. Default: derived from API_KEYS."
    )
    api_rate_limit_per_minute: int = Field(
        600, ge=0, le=1_000_000, description="Requests per minute and key (or address); 0 turns it off."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated addresses whose X-Forwarded-For is believed."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated origins browsers may call from."
    )
    max_task_bytes: int = Field(32 * 1024, ge=1, le=1024 * 1024, description="Longest task text in UTF-8 bytes.")
    max_body_bytes: int = Field(256 * 1024, ge=1024, le=16 * 1024 * 1024, description="Largest request body in bytes.")
    prometheus_enabled: bool = Field(True, description="Serve Prometheus text at /metrics.")
    verify_interval_sec: float = Field(
        30.0, ge=0, le=3600, description="How often an API process verifies the invariants for /metrics; 0 is never."
    )
    metrics_history_days: int = Field(5, ge=1, le=90, description="Days in `last_5_days` of the system metrics.")

    # --- jobs and workers
    worker_slots: int = Field(100, ge=1, le=5000, description="Jobs one worker process runs at the same time.")
    worker_queues: QueueNames = Field(
        ("agent_tasks", "task_evaluations", "workflow_steps"),
        description="Queues that this worker serves, with commas between them: `agent_tasks` (tasks), "
        "`task_evaluations` (routing, scores and the policy's decision on tasks of tenants with a policy), "
        "`workflow_steps`. Each has to be served by some worker.",
    )
    worker_allow_commands: bool = Field(
        False,
        description="Let steps of workflows run programs here; whoever stores workflows can then do what a worker can.",
    )
    worker_metrics_host: str = Field("127.0.0.1", description="Address of the worker's own Prometheus page.")
    worker_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of the worker's own Prometheus page; 0 serves none."
    )
    task_max_attempts: int = Field(3, ge=1, le=20, description="Attempts before a task fails for good.")
    task_timeout_sec: float = Field(300.0, gt=0, le=86_400, description="Longest time one attempt may take.")
    lease_sec: float = Field(
        15.0, ge=1, le=600, description="A worker that has not renewed for this long has lost its jobs."
    )
    heartbeat_sec: float = Field(
        4.0, ge=0.1, le=120, description="How often a worker renews; at most a third of LEASE_SEC."
    )
    sweep_sec: float = Field(1.0, ge=0.1, le=60, description="How often due and orphaned work is looked for.")
    drain_grace_sec: float = Field(20.0, ge=0, le=600, description="How long running jobs may finish after SIGTERM.")
    retry_initial_sec: float = Field(1.0, gt=0, le=600, description="Delay before the second attempt.")
    retry_maximum_sec: float = Field(60.0, gt=0, le=86_400, description="Longest delay between attempts.")
    retry_total_sec: float = Field(
        3600.0, ge=0, le=604_800, description="No retry starts later than this after a task was queued; 0 is no limit."
    )
    circuit_failures: int = Field(
        5,
        ge=0,
        le=1000,
        description="Failures in a row after which a provider is left alone for a while; 0 never does.",
    )
    circuit_open_sec: float = Field(
        10.0, ge=0.1, le=3600, description="How long it is left alone at first; twice as long each time it fails again."
    )
    circuit_open_max_sec: float = Field(120.0, ge=0.1, le=86_400, description="Longest time it is left alone.")
    redispatch_sec: float = Field(
        8.0, ge=0.5, le=60, description="First wait before an unclaimed job is rung again; then doubled, up to 60."
    )

    # --- retention
    task_retention_days: float = Field(
        0.0,
        ge=0,
        le=36_500,
        description="Completed and cancelled tasks and executions are deleted so long after their end, with all that "
        "belongs to them; 0 keeps them for ever, else at least 1.",
    )
    dead_letter_retention_days: float = Field(
        0.0, ge=0, le=36_500, description="The same for failed ones; 0 keeps them for ever, else at least 1."
    )
    effect_ttl_days: int = Field(
        90,
        ge=1,
        le=3650,
        description="The ledger of effects forgets one so long after its last change; a task that is retried later may "
        "repeat it.",
    )

    # --- fairness and back-pressure
    tenant_weights: Weights = Field(
        {},
        description="Shares of the workers while there is a backlog, as `tenant=number` entries; `*` for others.",
    )
    tenant_concurrency: Counts = Field(
        {}, description="Most tasks of a tenant that run at the same time, as `tenant=number` entries; `*` for others."
    )
    agent_concurrency: Counts = Field(
        {},
        description="Most tasks that run an agent at the same time, as `agent=number` entries; `*` for others.",
    )
    priority_step_sec: float = Field(
        60.0, ge=0, le=86_400, description="Head start over tasks of the same tenant that each priority step is worth."
    )
    max_backlog: int = Field(
        100_000, ge=0, description="Due jobs waiting, of all tenants, beyond which new work gets a 503; 0 is no limit."
    )
    max_tenant_backlog: int = Field(
        0, ge=0, description="The same of one tenant, beyond which it gets a 429; 0 is no limit."
    )

    # --- agent state and artifacts
    artifact_store: ArtifactLocation | None = Field(
        None,
        description="Where blobs are kept: a folder, `file:///…` or `s3://bucket/prefix` (reached as the `AWS_*` "
        "variables say). Workers on several machines need one they share. Default: `artifacts` in DATA_DIR.",
    )
    checkpoint_ttl_hours: float = Field(
        168.0, ge=1, le=8760, description="Checkpoints of a task that is still open are deleted so long after the last."
    )
    recording_max_bytes: int = Field(
        1024 * 1024, ge=0, le=16 * 1024 * 1024, description="Bytes recorded of a run of an agent; 0 records nothing."
    )

    # --- the embedded stack
    data_dir: Path = Field(Path(".orchestrate"), description="Folder of the embedded stores.")

    @field_validator("redis_url", mode="before")
    @classmethod
    def _none_is_a_choice(cls, value: Any) -> Any:
        return None if value == "none" else value

    @field_validator("trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split_list(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*":
                checked_http_url(origin)
        return value

    @field_validator("sqs_queue_url_prefix")
    @classmethod
    def _is_the_beginning_of_a_url(cls, value: str | None) -> str | None:
        if value is not None:
            checked_http_url(value)
        return value

    @field_validator("api_keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(_parse_key(entry.strip()) for entry in value.split(",") if entry.strip())

    @field_validator("default_tenant", "mongo_db_name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("use letters, digits, `_`, `.` and `-`, beginning with a letter or digit")
        return value

    @model_validator(mode="after")
    def _times_fit_together(self) -> Self:
        if conflicts := conflicts_of(self):
            raise ValueError("; ".join(conflicts))
        if self.redis_url is None and self.celery_broker_url is None:
            raise ValueError("set REDIS_URL or CELERY_BROKER_URL: workers need a broker to hear of work")
        return self

    @model_validator(mode="after")
    def _sqs_is_complete(self) -> Self:
        is_sqs = self.celery_broker_url is not None and self.broker_url.startswith("sqs:")
        if self.sqs_queue_url_prefix and not is_sqs:
            raise ValueError("SQS_QUEUE_URL_PREFIX is for SQS: set CELERY_BROKER_URL=sqs:// or leave it out")
        if is_sqs and not all(find_spec(package) for package in ("boto3", "pycurl")):
            raise ValueError("CELERY_BROKER_URL is sqs://, which needs: pip install 'agent-orchestrator[sqs]'")
        return self

    @model_validator(mode="after")
    def _production_is_locked(self) -> Self:
        if self.environment is not Environment.PRODUCTION:
            return self
        if not self.api_keys:
            raise ValueError("API_KEYS must be set when ENVIRONMENT=production")
        if "*" in self.cors_origins:
            raise ValueError("CORS_ORIGINS must name origins when ENVIRONMENT=production, not *")
        return self

    @property
    def broker_url(self) -> str:
        chosen = self.celery_broker_url or self.redis_url
        assert chosen is not None  # noqa: S101 - checked by _times_fit_together
        return chosen.get_secret_value()

    @property
    def artifact_location(self) -> str:
        return self.artifact_store or str(self.data_dir / "artifacts")

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_sec)


def _parse_key(entry: str) -> ApiKey:
    secret, _, rest = entry.partition(":")
    tenant, _, role = rest.partition(":")
    if len(secret) < 8:
        raise ValueError("every key needs at least 8 characters: `key`, `key:tenant` or `key:tenant:role`")
    if tenant and not _NAME.fullmatch(tenant):
        raise ValueError("a tenant name has letters, digits, `_`, `.` and `-` only")
    if role and role not in set(Role):
        raise ValueError(f"a role is one of {', '.join(Role)}")
    return ApiKey(secret=SecretStr(secret), tenant_id=tenant, role=Role(role or Role.MEMBER))


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; raise `ConfigurationError` that names each wrong variable and the fix.

    Values are never repeated in the message: a mistyped secret must not end up in a log.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigurationError(explain(error)) from None


def explain(error: ValidationError) -> str:
    lines = [f"  {_variable(problem['loc'])}: {_advice(problem['msg'])}" for problem in error.errors()]
    return "The configuration is wrong:\n" + "\n".join(lines)


def _variable(location: tuple[int | str, ...]) -> str:
    if not location:
        return "settings"
    # Of a value in JSON also the member, which is a name somebody chose and no secret.
    member = ".".join(part for part in location[1:] if isinstance(part, str))
    return f"{str(location[0]).upper()} {member}".rstrip()


def _advice(message: str) -> str:
    return message.removeprefix("Value error, ")
