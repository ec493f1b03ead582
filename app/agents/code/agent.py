"""Writes code, and words about code. It never runs any.

::

    START ─► write ─► END
               │  ▲
               ▼  │
             repair     at most twice, with what the parser says

Each of the nodes understands the task, asks, reads the files out of the answer and verifies them: all but the asking is
cheap and comes out the same again, so only its end is worth a checkpoint.
"""

import asyncio
from dataclasses import replace

from langgraph.graph import END, START
from langgraph.runtime import Runtime

from app.agents.base import AgentOutput, OutputFile
from app.agents.code.assignment import Assignment, understand
from app.agents.code.contract import CodeData, Mode, VerifiedFile
from app.agents.code.drafts import PLAIN_TEXT, Draft, drafted
from app.agents.code.files import files_in
from app.agents.code.prompting import conversation
from app.agents.code.prose import Prose
from app.agents.code.review import CodeReview, problem_of, rendered, syntax_findings, together
from app.agents.code.verification.verifier import Verifier
from app.agents.graphs import AgentState, Graph, GraphAgent, Work
from app.agents.markdown import checked_output, summarize
from app.llm.errors import AgentOutputInvalid
from app.llm.messages import Message, correction
from app.llm.usage import ModelRole

MOST_REPAIRS = 2


class CodeState(AgentState, total=False):
    draft: Draft


class CodeAgent(GraphAgent[CodeState]):
    state = CodeState

    def __init__(self) -> None:
        super().__init__()
        self._verifier = Verifier()

    def build(self, graph: Graph) -> None:
        graph.add_node("write", self.write)
        graph.add_node("repair", self.repair)
        graph.add_edge(START, "write")
        for asking in ("write", "repair"):
            graph.add_conditional_edges(asking, _next, {"repair": "repair", "done": END})

    async def write(self, state: CodeState, runtime: Runtime[Work]) -> dict[str, object]:  # noqa: ARG002
        """Raises `AgentOutputInvalid` when the answer holds no files that could be verified."""
        return {"draft": await self._draft(runtime.context, ())}

    async def repair(self, state: CodeState, runtime: Runtime[Work]) -> dict[str, object]:
        """Shows the model its answer and what is wrong with it. Raises `AgentOutputInvalid` as `write` does."""
        refused = state["draft"]
        again = (Message("assistant", refused.text), correction(refused.problem or ""))
        return {"draft": replace(await self._draft(runtime.context, again), rounds=refused.rounds + 1)}

    async def _draft(self, work: Work, again: tuple[Message, ...]) -> Draft:
        assignment = understand(work.request)
        asked = (*conversation(work.request, assignment), *again)
        prose = Prose(work.request.text)
        match assignment.mode:
            case Mode.REVIEW:
                return await self._reviewed(work, asked, assignment, prose)
            case Mode.EXPLAIN:
                answer = await work.tools.chat.complete(ModelRole.CODE, asked)
                text = await asyncio.to_thread(prose.clean, checked_output(answer.text))
                return Draft(assignment.mode, _language_of(assignment), text, [], [], notes=prose.notes)
            case _:
                answer = await work.tools.chat.complete(ModelRole.CODE, asked)
                text, files = await asyncio.to_thread(_read, answer.text, prose, assignment)
                verdicts = await self._verifier.verify(files, dialect=assignment.dialect)
                return drafted(text, files, verdicts, assignment, notes=prose.notes)

    async def _reviewed(self, work: Work, asked: tuple[Message, ...], assignment: Assignment, prose: Prose) -> Draft:
        answer = await work.tools.chat.structured(ModelRole.CODE, asked, CodeReview)
        problem = problem_of(answer.value, assignment.material)
        verdicts = await self._verifier.verify(assignment.material, dialect=assignment.dialect)
        findings = together(syntax_findings(verdicts), [*map(prose.clean_finding, answer.value.findings)])
        return Draft(
            assignment.mode,
            _language_of(assignment),
            prose.clean(rendered(answer.value.summary, findings)),
            [],
            verdicts,
            findings=findings,
            problem=problem,
            refusal=problem and f"the model's review is not of this code: {problem}",
            notes=[*prose.notes, *(verdict.note for verdict in verdicts if verdict.note is not None)],
        )

    def output(self, state: CodeState) -> AgentOutput:
        """Raises `AgentOutputInvalid` for a draft that could not be repaired.

        Here and not in a node: the next attempt would go on with that node, and so with the same draft.
        """
        draft = state["draft"]
        if draft.refusal is not None:
            raise AgentOutputInvalid(f"{draft.refusal} (after {draft.rounds} repairs)")
        return AgentOutput(
            summary=summarize(draft.text, fallback=f"Code in {draft.language}."),
            raw_output=draft.text,
            code_language=draft.language,
            data=_data(draft).model_dump(mode="json"),
            files=tuple(draft.files),
            notes=tuple(draft.notes or ()),
        )


# A coroutine, because LangGraph runs a plain function in a thread of its own.
async def _next(state: CodeState) -> str:
    draft = state["draft"]
    return "repair" if draft.problem is not None and draft.rounds < MOST_REPAIRS else "done"


def _read(answer: str, prose: Prose, assignment: Assignment) -> tuple[str, list[OutputFile]]:
    text = prose.clean(checked_output(answer))
    return text, files_in(text, assignment)


def _language_of(assignment: Assignment) -> str:
    return assignment.language or assignment.hint or PLAIN_TEXT


def _data(draft: Draft) -> CodeData:
    return CodeData(
        mode=draft.mode,
        language=draft.language,
        verified=[VerifiedFile(path=v.path, language=v.language, ok=v.ok, parser=v.parser) for v in draft.verdicts],
        findings=draft.findings,
        repair_rounds=draft.rounds,
    )
