"""The plan of the house, as tests: imports point down, none hides, and every module says its one sentence."""

from __future__ import annotations

import ast
import logging
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from importlinter import cli

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_qerko"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.parent.name != "migrations")

#: What an ``__init__`` may bring in besides its docstring; ``models`` brings the names of its own modules, and the
#: folders that Django imports by name, so that what is in them registers itself, bring their modules.
EXPORTS = {
    "admin/__init__.py": {"bill", "event", "payment", "rejection", "reply", "restaurant"},
    "certifying/__init__.py": {"RULES", "Outcome", "Rule", "Verdict", "on_stage", "try_rule"},
    "checks/__init__.py": {"bookkeeping", "database", "project", "queue", "values"},
    "client/__init__.py": {"QerkoClient", "QerkoRestaurant"},
    "replying/__init__.py": {"reply_later"},
    "tending/__init__.py": {"take_back"},
    "testing/__init__.py": {
        *("frozen_deadline", "isolated", "make_api_key", "make_bill", "make_delivery", "make_event", "make_payload"),
        *("make_payment", "make_payment_data", "make_receipt", "make_restaurant", "pass_deadline", "work"),
    },
}

#: Modules of the core, which get the time as an argument, and the names by which one would ask for it.
CLOCKLESS = {"amounts.py", "answers.py", "events.py", "exceptions.py", "signatures.py", "replying/retrying.py"}
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"}


def read(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text())


def hidden_imports(tree: ast.AST, module: str) -> set[int]:
    """The lines of imports inside functions, save in ``AppConfig.ready()``, where Django asks for them."""
    return {
        node.lineno
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and (module, function.name) != ("apps.py", "ready")
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }


def surprises(tree: ast.Module, module: str) -> list[str]:
    """What stands in an ``__init__`` and should not."""
    return [ast.unparse(statement) for statement in tree.body[1:] if not belongs(statement, module)]


def belongs(statement: ast.stmt, module: str) -> bool:
    match statement:
        case ast.ImportFrom(module="__future__"):
            return True
        case ast.ImportFrom(module=str(source), names=names):
            inside_models = module == "models/__init__.py" and source.startswith("django_qerko.models.")
            return inside_models or {alias.name for alias in names} <= EXPORTS.get(module, set())
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case _:
            return False


def looks_at_a_clock(tree: ast.AST) -> list[str]:
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS
    ]


@pytest.fixture
def loggers_as_they_were() -> Iterator[None]:
    """import-linter configures logging, and what it does not know falls silent; other tests listen to that."""
    loggers = [logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    silent = [logger for logger in loggers if logger.disabled]
    yield
    for logger in loggers:
        logger.disabled = logger in silent


@pytest.mark.usefixtures("loggers_as_they_were")
@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["id"])
def test_a_contract_holds(contract: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    status = cli.lint_imports(limit_to_contracts=(contract["id"],), no_logo=True, no_cache=True)

    assert status == cli.EXIT_STATUS_SUCCESS, contract["name"]


@pytest.mark.parametrize("module", MODULES)
def test_no_import_hides_in_a_function(module: str) -> None:
    assert not hidden_imports(read(module), module)


@pytest.mark.parametrize("module", [module for module in MODULES if module.endswith("__init__.py")])
def test_an_init_says_what_its_folder_is_and_no_more(module: str) -> None:
    assert not surprises(read(module), module)


@pytest.mark.parametrize("module", [module for module in MODULES if module in CLOCKLESS])
def test_the_core_looks_at_no_clock(module: str) -> None:
    assert not looks_at_a_clock(read(module))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_its_one_sentence(module: str) -> None:
    assert ast.get_docstring(read(module))


def test_the_rules_themselves_notice() -> None:
    inside = ast.parse("class Config:\n    def ready(self):\n        import os")
    init = ast.parse(
        "'''Doc.'''\n"
        "from __future__ import annotations\n"
        "from django_qerko.models.bill import Bill\n"
        "from django_qerko.tending.reconciling import take_back\n"
        "import os\n"
        "__all__ = ['Bill']\n"
        "VERSION = 1"
    )

    assert hidden_imports(inside, "conf.py") == {3}
    assert not hidden_imports(inside, "apps.py")
    assert surprises(init, "models/__init__.py") == [
        "from django_qerko.tending.reconciling import take_back",
        "import os",
        "VERSION = 1",
    ]
    assert surprises(init, "tending/__init__.py") == [
        "from django_qerko.models.bill import Bill",
        "import os",
        "VERSION = 1",
    ]
    assert looks_at_a_clock(ast.parse("moment = timezone.now()")) == ["timezone.now()"]
