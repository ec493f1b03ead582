"""What governs work and what is kept of it: settings that are put together here, a part of `app.settings.Settings`."""

from app.setting_approvals import ApprovalSettings
from app.setting_artifacts import ArtifactSettings
from app.setting_budgets import BudgetSettings
from app.setting_evaluation import EvaluationSettings
from app.setting_logs import LogSettings
from app.setting_policy import PolicySettings


class GovernanceSettings(
    BudgetSettings, EvaluationSettings, PolicySettings, ApprovalSettings, LogSettings, ArtifactSettings
):
    pass
