"""Kept logs as the API and the workers see them."""

from datetime import timedelta

from app.bootstrap.core import Core
from app.logs.repository import COLLECTION, LogRepository
from app.logs.service import LogService
from app.logs.shipping import LogQueue, LogShipper
from app.observability.redaction import Redactor, secrets_of


def build_log_repository(core: Core) -> LogRepository:
    lifetime = timedelta(days=core.settings.log_retention_days)
    return LogRepository(core.documents(COLLECTION), lifetime=lifetime, clock=core.clock)


def build_log_service(core: Core) -> LogService:
    return LogService(build_log_repository(core), Redactor(secrets_of(core.settings)), clock=core.clock)


def start_shipping(core: Core, queue: LogQueue) -> LogShipper:
    shipper = LogShipper(queue, build_log_repository(core), on_dropped=core.metrics.losses.logs.inc)
    shipper.start()
    return shipper
