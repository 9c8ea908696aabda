"""What was answered beforehand, by options, and what has to be asked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from rotctl.adopt.plan import FORMATS


@dataclass(frozen=True)
class Answers:
    """One field for each option that answers a question; empty where nothing was said."""

    service: tuple[str, ...] = ()
    with_service: tuple[str, ...] = ()
    other_service: tuple[str, ...] = ()
    worker: bool = False
    secret: str = ""
    pods_secret: str = ""
    vault: str = ""
    format: str = ""
    role: str = ""
    role_variable: tuple[str, ...] = ()
    role_file: str = ""
    group: str = ""
    green_role: str = ""
    green_secret: str = ""
    host: str = ""
    database_name: str = ""
    credential: str = ""
    cluster: str = ""
    server: str = ""
    app_identity: str = ""
    break_glass: str = ""
    approver: tuple[str, ...] = ()
    base: str = ""
    in_place: str = ""
    route: tuple[str, ...] = ()

    def with_answer(self, name: str, value: str) -> Answers:
        given: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        given[name] = (*given[name], value) if isinstance(given[name], tuple) else value
        return Answers(**given)


@dataclass(frozen=True)
class Question:
    """What could not be found. `answer` is the field of `Answers`; `choices` were found, and are
    all that will do unless there are none; `text` says what is asked, without a question mark."""

    answer: str
    text: str
    choices: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        return "--" + self.answer.replace("_", "-")

    def __str__(self) -> str:
        found = f"; found: {', '.join(self.choices)}" if self.choices else ""
        return f"{self.option}: {self.text}{found}"


@dataclass(frozen=True)
class Facts:
    """What was seen elsewhere than in manifests. `roles` have sessions from the workloads' pods."""

    roles: tuple[str, ...] = ()
    taken_roles: tuple[str, ...] = ()
    host: str = ""
    port: int = 0
    database: str = ""
    cluster: str = ""
    server: str = ""
    authority: str = ""
    tells: tuple[str, ...] = ()


class Asking:
    """Takes what was answered, or the only thing that was found, or remembers the question."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.questions: list[Question] = []

    def one(self, answer: str, text: str, found: list[str] | tuple[str, ...] = ()) -> str:
        given = str(getattr(self.answers, answer))
        if given:
            return given
        if len(found) == 1:
            return found[0]
        self.ask(answer, text, tuple(found))
        return ""

    def ask(self, answer: str, text: str, choices: tuple[str, ...] = ()) -> None:
        question = Question(answer, text, choices)
        if question not in self.questions:
            self.questions.append(question)

    def form(self, words: str) -> str:
        """The form of the secret's value, which nobody has looked at."""
        if self.answers.format:
            return self.answers.format
        if words:
            self.ask("format", f"the form of the value that {words} reads", FORMATS)
        return FORMATS[0]
