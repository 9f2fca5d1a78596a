"""The tables of options are those of the commands, and every command line in the pages is understood."""

import re
import shlex
import signal

import pytest
import typer
import typer.core

from fullgraph import cli, errors
from fullgraph.datasets.load import NAMES
from fullgraph.train.config import RESUME_MAY_CHANGE
from tests.docs.pages import PAGES, ROOT, code_blocks, section, table_rows

COMMANDS = typer.main.get_command(cli.command_line(*cli.COMMANDS)).commands
PAGE = (ROOT / "docs" / "command-line.md").read_text()


def command_lines() -> list[list[str]]:
    """The words of each ``$ …`` line of a console block, after the launcher and up to a shell's own signs."""
    lines = []
    for page in PAGES:
        for block in code_blocks(page.read_text(), "console"):
            joined = block.replace("\\\n", " ")
            lines += [shlex.split(line[2:]) for line in joined.splitlines() if line.startswith("$ ")]
    return lines


def options_of(command: typer.core.TyperCommand) -> dict[str, str]:
    """Help text by names, as the page's table has it."""
    return {
        ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts]): parameter.help
        for parameter in command.params
        if parameter.param_type_name == "option" and "--help" not in parameter.opts
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_options_is_the_help(name):
    table = {row[0]: row[1] for row in table_rows(section(PAGE, name)) if row[0].startswith("`--")}
    expected = options_of(COMMANDS[name])
    assert table == expected, "the table must read:\n" + "\n".join(f"| {k} | {v} |" for k, v in expected.items())


def test_command_lines_are_understood():
    understood = 0
    for words in command_lines():
        if "fullgraph" not in words:
            assert words[0] in ("make", "python", "torchrun", "pip", "uv", "conda"), words
            continue
        name, *arguments = words[words.index("fullgraph") + 1 :]
        COMMANDS[name].make_context(name, arguments)
        understood += 1
    assert understood >= 8


def test_the_list_of_commands_says_what_their_own_help_says():
    assert {
        name: command.help.partition("\n\n")[0].replace("\n", " ") for name, command in COMMANDS.items()
    } == cli.COMMANDS


def test_all_commands_have_a_section():
    headings = re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)
    assert set(COMMANDS) <= set(headings)


def test_what_may_change_on_resume():
    sentence = re.search(r"Of the options these may change:(.*?)\n\n", PAGE, re.DOTALL).group(1)
    assert {name.replace("-", "_") for name in re.findall(r"`--([\w-]+)`", sentence)} == RESUME_MAY_CHANGE


def test_all_data_sets_are_listed():
    page = (ROOT / "docs" / "datasets.md").read_text()
    listed = [name for row in table_rows(section(page, "Names")) for name in re.findall(r"`([\w-]+)`", row[0])]
    assert sorted(listed) == sorted(NAMES)


def test_the_exit_codes_are_those_of_the_errors():
    listed = {int(code) for row in table_rows(section(PAGE, "Exit codes")) for code in row[0].split(", ")}
    raised = {errors.FullgraphError.exit_code, errors.InputError.exit_code, errors.PeerLost.exit_code}
    assert listed == {0, *raised, 128 + signal.SIGINT, 128 + signal.SIGTERM}
