"""Completion scripts for bash, zsh and fish, written from the command table.

The scripts are static: pressing Tab starts no Python. They know every command, every option with its values, the tools
with the options of their own, and the error codes; processes, interfaces, cgroups and files they ask the system for.
"""

from __future__ import annotations

from osmia.cli.complete import Command, Option, commands, run_options, tool_options, words_of

SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """The script for a shell of :data:`SHELLS`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _flags(options: list[Option]) -> str:
    return " ".join(flag for option in options for flag in option.flags)


# -- bash --------------------------------------------------------------------------------------------------------------

_BASH_HEAD = """\
# bash completion of osmia. Use it with: eval "$(osmia completion bash)"
# or keep it: osmia completion bash > ~/.local/share/bash-completion/completions/osmia

_osmia_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }

_osmia_files() {
    # $1: an extended pattern of file names, empty for all; $2: further words
    local -a found=()
    local IFS=$'\\n'
    local path
    while read -r path; do
        if [[ -d $path || -z $1 || $path =~ $1 ]]; then found+=("$path"); fi
    done < <(compgen -f -- "$cur")
    if [[ -n $2 ]]; then found+=($(compgen -W "${2// /$'\\n'}" -- "$cur")); fi
    COMPREPLY=("${found[@]}")
    compopt -o filenames 2>/dev/null
}

_osmia_value() {
    case $1 in
        file) _osmia_files '' '' ;;
        object) _osmia_files '\\.o$' '' ;;
        program) _osmia_files '\\.(py|o)$' "$_osmia_tools" ;;
        tool) _osmia_words "$_osmia_tools" ;;
        code) _osmia_words "$_osmia_codes" ;;
        shell) _osmia_words 'bash zsh fish' ;;
        pid) _osmia_words "$(cd /proc && printf '%s ' [0-9]*)" ;;
        interface) _osmia_words "$(cd /sys/class/net 2>/dev/null && printf '%s ' *)" ;;
        cgroup) mapfile -t COMPREPLY < <(compgen -d -- "${cur:-/sys/fs/cgroup/}") ;;
        '') ;;
        *) _osmia_words "$1" ;;
    esac
}
"""

_BASH_MAIN = """\
_osmia() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local command=${COMP_WORDS[1]} at count=0 target='' options='' value='' word
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _osmia_words "$_osmia_commands --help --version"
        return
    fi
    if [[ $command == run ]]; then
        for ((at = 2; at < COMP_CWORD; at++)); do
            if [[ ${COMP_WORDS[at]} == -- ]]; then
                if ((at + 1 == COMP_CWORD)); then
                    mapfile -t COMPREPLY < <(compgen -c -- "$cur")
                else
                    _osmia_files '' ''
                fi
                return
            fi
        done
        if ((COMP_CWORD > 2)); then target=${COMP_WORDS[2]}; fi
    fi
    _osmia_takes "$command" "$target" "$prev"
    if [[ -n $value ]]; then
        [[ $value == - ]] || _osmia_value "$value"
        return
    fi
    _osmia_options "$command" "$target"
    if [[ $cur == -* ]]; then
        _osmia_words "$options"
        return
    fi
    for ((at = 2; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ $word == -* ]]; then
            value=''
            _osmia_takes "$command" "$target" "$word"
            [[ -z $value ]] || ((at++))
        else
            ((count++))
        fi
    done
    _osmia_positional "$command" "$count"
}

complete -F _osmia osmia
"""


def _bash() -> str:
    known = commands()
    own = tool_options()
    out = [
        _BASH_HEAD,
        f"_osmia_commands={_quoted(' '.join(command.name for command in known))}",
        f"_osmia_tools={_quoted(' '.join(words_of('tool')))}",
        f"_osmia_codes={_quoted(' '.join(words_of('code')))}",
        "",
        "# The options of command $1 (with target $2) go to $options.",
        "_osmia_options() {",
        "    case $1 in",
    ]
    out += [f"        {command.name}) options={_quoted(_flags(command.options))} ;;" for command in known]
    out += ["    esac", "    [[ $1 == run ]] || return", "    case $2 in"]
    out.append("        '') options='--help' ;;")
    out += [f"        {tool}) options+={_quoted(' ' + _flags(more))} ;;" for tool, more in own.items() if more]
    out += ["    esac", "}", ""]
    out += [
        "# What option $3 takes goes to $value: a source of values, or words; - for anything; empty: no value.",
        "_osmia_takes() {",
        "    case $1:$3 in",
    ]
    out += [line for command in known for line in _bash_takes(command.name, command.options)]
    out += ["    esac", "    case $2:$3 in"]
    out += [line for tool, more in own.items() for line in _bash_takes(tool, more)]
    out += ["    esac", "}", ""]
    out += ["# Completes positional argument number $2 of command $1.", "_osmia_positional() {", "    case $1:$2 in"]
    out += [line for command in known for line in _bash_positionals(command)]
    out += ["    esac", "}", "", _BASH_MAIN]
    return "\n".join(out)


def _bash_takes(name: str, options: list[Option]) -> list[str]:
    return [
        f"        {'|'.join(f'{name}:{flag}' for flag in option.flags)}) value={_quoted(_value(option))} ;;"
        for option in options
        if option.takes
    ]


def _value(option: Option) -> str:
    return " ".join(option.choices) or option.source or "-"


def _bash_positionals(command: Command) -> list[str]:
    lines = []
    for at, choices in enumerate(command.positionals):
        last = command.repeats and at == len(command.positionals) - 1
        lines.append(f"        {command.name}:{'*' if last else at}) _osmia_value {_quoted(' '.join(choices))} ;;")
    return lines


# -- zsh ---------------------------------------------------------------------------------------------------------------

_ZSH_SOURCES = {
    "file": "_files",
    "object": "_files -g '*.o'",
    "program": "_osmia_programs",
    "tool": "_osmia_tool_names",
    "code": "_osmia_codes",
    "pid": "_pids",
    "interface": "_osmia_interfaces",
    "cgroup": "_files -/ -W /sys/fs/cgroup",
    "shell": "(bash zsh fish)",
}


def _zsh() -> str:
    from osmia.cli.ready import tools

    known = commands()
    own = tool_options()
    out = [
        "#compdef osmia",
        '# zsh completion of osmia. Keep it in a folder of $fpath: osmia completion zsh > "${fpath[1]}/_osmia"',
        '# or load it in ~/.zshrc, after compinit: eval "$(osmia completion zsh)"',
        "",
        "_osmia_tool_names() {",
        "    local -a tools=(",
        *(f"        {_quoted(f'{tool.name}:{tool.summary}')}" for tool in tools()),
        "    )",
        "    _describe -t tools tool tools",
        "}",
        "_osmia_programs() { _osmia_tool_names; _files -g '*.(py|o)' }",
        f"_osmia_codes() {{ local -a codes=({' '.join(words_of('code'))}); compadd -a codes }}",
        "_osmia_interfaces() { local -a found=(/sys/class/net/*(N:t)); compadd -a found }",
        "",
        "_osmia_run() {",
        "    local -a specs=(",
        *_zsh_specs(run_options()),
        "        '*::command:= _normal'",
        "    )",
        "    if (( CURRENT == 2 )); then",
        "        _osmia_programs",
        "        return",
        "    fi",
        "    local target=$words[2]",
        "    case $target in",
    ]
    for tool, more in own.items():
        if more:
            out += [f"        {tool}) specs+=(", *_zsh_specs(more), "        ) ;;"]
    out += ["    esac", "    shift words; (( CURRENT-- ))", "    _arguments -S -s : $specs", "}", ""]
    for command in known:
        if command.name != "run":
            out += [f"_osmia_{command.name}() {{", "    local -a specs=("]
            out += [*_zsh_specs(command.options), *_zsh_positionals(command)]
            out += ["    )", "    _arguments -s : $specs", "}", ""]
    out += [
        "_osmia() {",
        "    local -a commands=(",
        *(f"        {_quoted(f'{command.name}:{command.summary}')}" for command in known),
        "    )",
        "    if (( CURRENT == 2 )); then",
        "        _describe -t commands command commands",
        "        compadd -- --help --version",
        "        return",
        "    fi",
        "    shift words; (( CURRENT-- ))",
        "    (( $+functions[_osmia_$words[1]] )) && _osmia_$words[1]",
        "}",
        "",
        'if [[ $funcstack[1] == _osmia ]]; then _osmia "$@"; else compdef _osmia osmia; fi',
        "",
    ]
    return "\n".join(out)


def _zsh_specs(options: list[Option]) -> list[str]:
    lines = []
    for option in options:
        help = option.help.replace("[", "(").replace("]", ")").replace(":", ",")
        action = ""
        if option.takes:
            values = f"({' '.join(option.choices)})" if option.choices else _ZSH_SOURCES.get(option.source, " ")
            action = f":{option.metavar.lower() or 'value'}:{values}"
        others = f"({' '.join(option.flags)})" if len(option.flags) > 1 else ""
        lines += [f"        {_quoted(f'{others}{flag}[{help}]{action}')}" for flag in option.flags]
    return lines


def _zsh_positionals(command: Command) -> list[str]:
    lines = []
    for at, choices in enumerate(command.positionals):
        last = command.repeats and at == len(command.positionals) - 1
        values = _ZSH_SOURCES.get(choices[0], " ") if len(choices) == 1 else f"({' '.join(choices)})"
        number = "*" if last else str(at + 1)
        lines.append(f"        {_quoted(f'{number}:argument:{values}')}")
    return lines


# -- fish --------------------------------------------------------------------------------------------------------------

_FISH_SOURCES = {
    "file": "",
    "object": "",
    "program": "$_osmia_tools",
    "tool": "$_osmia_tools",
    "code": "$_osmia_codes",
    "pid": "(__fish_complete_pids)",
    "interface": "(__fish_print_interfaces)",
    "cgroup": "(__fish_complete_directories)",
    "shell": "bash zsh fish",
}

_FISH_HEAD = """\
# fish completion of osmia. Keep it: osmia completion fish > ~/.config/fish/completions/osmia.fish

function __osmia_needs_command
    test (count (commandline -opc)) -eq 1
end

function __osmia_command
    set -l words (commandline -opc)
    test (count $words) -gt 1; and contains -- $words[2] $argv; and not contains -- -- $words[2..-1]
end

function __osmia_target
    set -l words (commandline -opc)
    test (count $words) -gt 2; and test $words[2] = run; and test $words[3] = $argv[1]; and not contains -- -- $words
end

function __osmia_first
    set -l words (commandline -opc)
    test (count $words) -eq 2; and contains -- $words[2] $argv
end

function __osmia_traced
    set -l words (commandline -opc)
    test (count $words) -gt 2; and test $words[2] = run; and contains -- -- $words
end

function __osmia_complete_traced
    set -l words (commandline -opc) (commandline -ct)
    set -l at (contains -i -- -- $words)
    set -e words[1..$at]
    complete -C "$words"
end

complete -c osmia -f
complete -c osmia -n __osmia_needs_command -l help -d 'list the commands'
complete -c osmia -n __osmia_needs_command -l version -d 'print the version'
complete -c osmia -n __osmia_traced -a '(__osmia_complete_traced)'
"""


def _fish() -> str:
    known = commands()
    out = [_FISH_HEAD, f"set -g _osmia_tools {' '.join(words_of('tool'))}"]
    out += [f"set -g _osmia_codes {' '.join(words_of('code'))}", ""]
    out += [
        f"complete -c osmia -n __osmia_needs_command -a {command.name} -d {_fish_quoted(command.summary)}"
        for command in known
    ]
    for command in known:
        out.append("")
        where = f"__osmia_command {command.name}"
        out += [_fish_option(where, option) for option in command.options]
        for at, choices in enumerate(command.positionals):
            if at == 0:
                first = where if command.repeats else f"__osmia_first {command.name}"
                out += _fish_positional(first, choices)
    for tool, more in tool_options().items():
        out += [_fish_option(f"__osmia_target {tool}", option) for option in more]
    return "\n".join(out) + "\n"


def _fish_positional(where: str, choices: tuple[str, ...]) -> list[str]:
    source = choices[0]
    values = _FISH_SOURCES.get(source, "") if len(choices) == 1 else " ".join(choices)
    line = f"complete -c osmia -n '{where}'"
    if source in ("file", "object", "program"):
        line += " -F"
    return [f'{line} -a "{values}"' if values else line]


def _fish_option(where: str, option: Option) -> str:
    parts = [f"complete -c osmia -n '{where}'"]
    for flag in option.flags:
        parts.append(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}")
    if option.takes:
        parts.append("-r -F" if option.source in ("file", "object", "program") else "-x")
        values = " ".join(option.choices) or _FISH_SOURCES.get(option.source, "")
        if values:
            parts.append(f'-a "{values}"')
    parts.append(f"-d {_fish_quoted(option.help)}")
    return " ".join(parts)


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
