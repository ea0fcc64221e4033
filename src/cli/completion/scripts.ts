import { didYouMean } from "../../kernel/nearest.ts";
import { UsageError } from "../errors.ts";
import { print } from "../output.ts";

/** Shells that completion is tested with. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

/**
 * `uvfio completion SHELL`: a script that asks `uvfio complete` at every TAB. It needs nothing but the shell itself.
 */
export async function completionCommand(shell: string): Promise<number> {
  const known = SHELLS.find((name) => name === shell);
  if (!known)
    throw new UsageError(
      `completion: no script for "${shell}"${didYouMean(shell, SHELLS)}; there are: ${SHELLS.join(", ")}`,
    );
  print(SCRIPTS[known]);
  return 0;
}

/**
 * bash takes = and : for ends of words (COMP_WORDBREAKS), a host's addresses have them: the words are put together
 * again, and of a candidate only what follows the last such end is given back.
 */
const BASH = String.raw`# bash completion for uvfio: source <(uvfio completion bash)
_uvfio() {
  local rest=\${COMP_LINE:0:COMP_POINT} word trimmed i
  local -a words=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    trimmed=\${rest#"\${rest%%[![:space:]]*}"}
    ((i == COMP_CWORD)) && word=$trimmed
    if ((i == 0)) || [[ $trimmed != "$rest" || -z $rest ]]; then words+=("$word"); else words[-1]+=$word; fi
    rest=\${trimmed:\${#word}}
  done
  local current=\${words[-1]} lines also line value
  mapfile -t lines < <(uvfio complete -- "\${words[@]:1}" 2>/dev/null)
  ((\${#lines[@]})) || return
  also=\${lines[-1]}
  unset 'lines[-1]'
  local ended=\${current%"\${current##*[=:]}"}
  COMPREPLY=()
  for line in "\${lines[@]}"; do
    value=\${line%%$'\t'*}
    COMPREPLY+=("\${value#"$ended"}")
  done
  # a path that belongs to an option: --trace=PATH
  local path=$current
  [[ $current == --*=* ]] && path=\${current#*=}
  case $also in
    *files*) compopt -o filenames 2>/dev/null; mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$path") ;;
    *directories*) compopt -o filenames 2>/dev/null; mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$path") ;;
    *commands*)
      mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -c -- "$path")
      compopt -o filenames 2>/dev/null; mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$path") ;;
    *continues*) compopt -o nospace 2>/dev/null ;;
  esac
}
complete -F _uvfio uvfio
`.replaceAll("\\$", "$");

const ZSH = String.raw`#compdef uvfio
# zsh completion for uvfio: source <(uvfio completion zsh), or as _uvfio in a folder of $fpath
_uvfio() {
  local -a lines described
  local also line value
  lines=("\${(@f)$(uvfio complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  also=$lines[-1]
  for line in "\${(@)lines[1,-2]}"; do
    value=\${line%%$'\t'*}
    described+=("\${value//:/\\:}:\${line#*$'\t'}")
  done
  local -a options
  [[ $also == *continues* ]] && options=(-S '')
  (( $#described )) && _describe -t values value described $options
  case $also in
    *files*) compset -P '--*='; _files ;;
    *directories*) compset -P '--*='; _files -/ ;;
    *commands*) _command_names -e; _files ;;
  esac
}
if [[ $funcstack[1] == _uvfio ]]; then
  _uvfio "$@"
elif (( $+functions[compdef] )); then
  compdef _uvfio uvfio
else
  print -u2 "uvfio: completion is not switched on in this zsh: first run autoload -Uz compinit && compinit"
fi
`.replaceAll("\\$", "$");

const FISH = String.raw`# fish completion for uvfio: uvfio completion fish | source
function __uvfio_complete
  set -l current (commandline -ct)
  set -q current[1]; or set current ''
  set -l words (commandline -opc)
  set -l lines (uvfio complete -- $words[2..-1] $current 2>/dev/null)
  set -q lines[1]; or return
  set -l also $lines[-1]
  set -e lines[-1]
  printf '%s\n' $lines
  set -l option (string match -r -- '^--[^=]*=' $current)
  set -l path (string replace -r -- '^--[^=]*=' "" $current)
  switch $also
    case '*files*' '*commands*'
      for each in (__fish_complete_path $path)
        printf '%s%s\n' "$option" $each
      end
    case '*directories*'
      for each in (__fish_complete_directories $path)
        printf '%s%s\n' "$option" $each
      end
  end
  if string match -q '*commands*' -- $also
    __fish_complete_command
  end
end
complete -c uvfio -f -a '(__uvfio_complete)'
`;

const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], string>> = { bash: BASH, zsh: ZSH, fish: FISH };
