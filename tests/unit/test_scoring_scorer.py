"""Who is scored for a piece of work, and with which facts."""

import pytest

from app.agents.registry import AgentNotFound, Registry
from app.agents.specs import BUILT_IN
from app.governance.scoring.models import Dimension, ScoringSubject, Work
from app.governance.scoring.scorer import acting_tools
from app.setting_mcp import McpServer
from app.workflows.places import way_to
from app.workflows.scoring.steps import MOST_REPETITIONS, as_written, work_of_step
from tests.policy_builders import a_scorer
from tests.scoring_builders import CODING
from tests.workflow_documents import load

WORKFLOW = """
version: 1
name: nested
inputs: {text: {type: string}}
steps:
  outer:
    loop: {until: "true", max_iterations: 2000}
    steps:
      inner:
        loop: {until: "true", max_iterations: 2000}
        steps:
          label:
            agent: TextProcessorAgent
            with: {operation: "${{ inputs.text }}", text: Good morning}
            timeout: 90s
            budget: {usd: 0.5, wall_clock: 10s}
"""


def test_work_for_nobody_in_particular_goes_to_the_agent_it_is_aligned_with_best() -> None:
    assert a_scorer().score(Work(ScoringSubject(CODING))).agent_name == "CodeAgent"


def test_agents_are_found_by_name_and_by_type() -> None:
    scorer = a_scorer()

    assert scorer.score(Work(ScoringSubject(CODING), "content")).agent_name == "ContentAgent"
    assert scorer.score(Work(ScoringSubject(CODING), "EchoAgent")).agent_name == "EchoAgent"
    with pytest.raises(AgentNotFound):
        scorer.score(Work(ScoringSubject(CODING), "NopeAgent"))


def test_without_any_agent_there_is_nobody_to_do_it() -> None:
    hidden = Registry([spec for spec in BUILT_IN if not spec.routable])

    scores = a_scorer(hidden).score(Work(ScoringSubject(CODING)))

    assert scores.agent_name is None
    assert scores.value_of(Dimension.FEASIBILITY) == 0.7


def test_a_step_is_scored_with_its_own_terms_and_the_loops_around_it() -> None:
    plan = load(WORKFLOW).plan
    way = way_to(plan, "outer.inner.label")

    work = work_of_step(way, as_written(way[-1].step), Registry())
    scores = a_scorer().score(work)

    assert (work.subject.depth, work.subject.repetitions) == (2, MOST_REPETITIONS)
    assert not work.is_input_known
    assert scores.agent_name == "TextProcessorAgent"
    found = {one.name: one.value for one in scores.by_dimension[Dimension.FEASIBILITY].features}
    assert found["input_unfit"] == 0
    assert min(found["budget_short"], found["deadline_short"]) > 9_990


def test_tools_of_servers_act_unless_their_operator_says_that_they_only_read() -> None:
    server = McpServer(url="http://127.0.0.1:9/mcp", allow={"CodeAgent": ("read", "write")}, read_only=("read",))

    assert acting_tools(Registry(), {"files": server}) == {"mcp.files.write"}
