"""The pieces of POSIX sh behind the lock on a host and the sets of files that it guards.

BusyBox, dash and bash understand them alike; of tools they take no more than hosts were seen to
have. The first argument of those of the lock is its folder, the second who takes or holds it: an id
of the controller, a tag of the host, and words for people.
"""

from typing import Final

BUSY: Final = 75
LEFT_RUNNING: Final = 76
LOST: Final = 77
LOST_WORDS: Final = "the lock is not held any more"
UNSAFE: Final = 78
OVER: Final = 79
OVER_WORDS: Final = "its time is over"
UNSAFE_WORDS: Final = "is not this account's own folder"

# Who can put something into a folder could give us his own in its place: what counts is not the
# path, but where we are once we went there. What is there, and not a link to it, has its number.
_ENTER: Final = f"""\
set -u; umask 077
unsafe() {{ echo "$1 {UNSAFE_WORDS}: $2" >&2; exit {UNSAFE}; }}
enter() {{
  cd -- "$1" || exit 1
  [ "$(stat -c %d:%i -- "$1")" = "$(stat -c %d:%i .)" ] || unsafe "$1" 'it is a symbolic link'
  [ "$(stat -c %u .)" = "$(id -u)" ] || unsafe "$1" "it belongs to $(stat -c %U .)"
  case $(stat -c %a .) in
  *[2367]? | *[2367]) unsafe "$1" 'others may write to it' ;;
  esac
}}
"""
# What tells a process from a later one with its number: field 22 of its stat (proc(5)). One that
# has ended and was not asked about yet is none.
_BORN: Final = """\
born() {
  read -r stat <"/proc/$1/stat" || return 1
  set -- ${stat##*) }
  [ "$1" != Z ] && echo "${20}"
}
"""
# $1 of `ends` is a process; all that descend from it end with it. What it let go for good, as a
# server that it started, is not of these.
_ENDS: Final = """\
signal() {
  for one in $all; do
    [ "$(born "${one%:*}")" != "${one#*:}" ] || kill "-$1" "${one%:*}"
  done 2>/dev/null
}
works() {
  for one in $all; do [ "$(born "${one%:*}")" != "${one#*:}" ] || return 0; done 2>/dev/null
  return 1
}
ends() {
  all="$1:$(born "$1")" before=
  [ "$all" != "$1:" ] || return 1
  while [ "$all" != "$before" ]; do
    before=$all
    for one in /proc/[0-9]*; do
      one=${one#/proc/}
      case " $all" in *" $one:"*) continue ;; esac
      { read -r stat <"/proc/$one/stat"; } 2>/dev/null || continue
      set -- ${stat##*) }
      case " $all" in *" $2:"*) [ "$1" = Z ] || all="$all $one:${20}" ;; esac
    done
  done
  signal TERM
  tries=5
  while [ $tries -gt 0 ] && works; do tries=$((tries - 1)); sleep 1; done
  signal KILL
  return 0
}
"""
# Beside folder and holder: for how many seconds a lock counts, how long a command is waited for
# that was left running, and how long another host of the same controller.
TAKE: Final = (
    _ENTER
    + _BORN
    + _ENDS
    + f"""\
folder=$1 who=$2 counts=$3 waits=$4 turn=$5 waited=0
key() {{ set -- "$1" "${{1#* }}"; echo "${{1%% *}} ${{2%% *}}"; }}
left() {{
  work=$(readlink work) || return 1
  pid=${{work%% *}} rest=${{work#* }}
  birth=${{rest%% *}} bound=${{rest#* }}
  [ -n "$birth" ] && [ "$(born "$pid")" = "$birth" ]
}} 2>/dev/null
over() {{
  case $bound in *[!0-9]* | '') return 1 ;; esac
  [ "$waited" -ge "$bound" ] || [ $(($(date +%s) - $(stat -c %Y work))) -ge "$bound" ]
}}
[ -e "$folder" ] || [ -L "$folder" ] || mkdir -m 700 -- "$folder" || [ -d "$folder" ] || exit 1
enter "$folder"
chmod 700 . || exit 1
while ! ln -sn -- "$who" lock 2>/dev/null; do
  if [ ! -L lock ]; then ln -sn -- "$who" lock && break; exit 1; fi
  holder=$(readlink lock) && since=$(stat -c %Y lock) || continue
  last=$(stat -c %Y work 2>/dev/null) || last=0
  [ "$last" -le "$since" ] || since=$last
  if [ "$(key "$holder")" != "$(key "$who")" ] && [ $(($(date +%s) - since)) -lt "$counts" ]; then
    whose=other
    if [ "${{holder%% *}}" = "${{who%% *}}" ]; then
      whose=ours
      if [ "$turn" -gt 0 ]; then turn=$((turn - 1)); sleep 1; continue; fi
    fi
    printf '%s\\n%s\\n%s\\n' "$since" $whose "$holder"
    exit {BUSY}
  fi
  while left; do
    if over; then ends "$pid"; left || break; fi
    if [ "$waited" -ge "$waits" ]; then echo "process $pid" >&2; exit {LEFT_RUNNING}; fi
    waited=$((waited + 1)); sleep 1
  done
  mv -- lock "lock.$$" && rm -f -- "lock.$$"
done
"""
)
# Beside folder and holder: after how many seconds it is ended (or -), and where it is to run; the
# rest is the command, which takes the place of this process or, if its time is bounded, is watched
# by it and reads nothing. Who watches sleeps by the second, so that nothing stays long behind.
WORK: Final = (
    _ENTER
    + _BORN
    + _ENDS
    + f"""\
folder=$1 who=$2 bound=$3 where=$4; shift 4
enter "$folder"
if [ "$(readlink lock)" != "$who" ]; then echo '{LOST_WORDS}' >&2; exit {LOST}; fi
ln -sfn -- "$$ $(born "$$") $bound" work && cd -- "$where" || exit 1
[ "$bound" != - ] || exec "$@"
"$@" &
command=$!
(
  while [ "$bound" -gt 0 ]; do sleep 1; bound=$((bound - 1)); done
  trap '' TERM
  ends "$command"
) >/dev/null 2>&1 &
watch=$!
wait "$command"
status=$?
if {{ kill "$watch"; wait "$watch"; }} 2>/dev/null; then echo '{OVER_WORDS}' >&2; exit {OVER}; fi
exit "$status"
"""
)
RELEASE: Final = (
    _ENTER + 'enter "$1"; [ "$(readlink lock 2>/dev/null)" != "$2" ] || rm -f -- work lock'
)

# All that follow run inside the lock's folder. A list that they read from stdin has $1 bytes but
# for its last line end: one that a lost connection cut short is not taken for the whole.
_LIST: Final = """\
set -u; umask 077
size=$1 list=$(cat) tab=$(printf '\\t'); shift
if [ "$(($(printf %s "$list" | wc -c)))" -ne "$size" ]; then
  echo 'the list of files was cut short' >&2; exit 1
fi
alike() { [ "$(($(wc -c <"$1")))" -eq "$(($(wc -c <"$2")))" ]; }
"""
# $2 is the end of the names of staged files; the other arguments are files that go in the end.
# A line of the list says for a file where its content is (- for none: it goes), mode and owner (-
# for those of the file that is replaced, = for those of the content's own file), whether it holds a
# key, whose owner and mode it has if it was not there (or -), and its path. A key that was not
# there is nobody's to read but its owner's, whatever that other file's mode is.
# Owner and mode are given by way of the open file: in a folder that somebody else may write, the
# name could be a symbolic link to another file a moment later. Where the disk has no room to put a
# copy back, the copy itself takes the place. Nothing is renamed before all of it is staged.
PLACE: Final = (
    _LIST
    + """\
set -C
mark=$1; shift
each() {
  printf '%s\\n' "$list" | while IFS=$tab read -r from mode owner key like path; do
    new=${path%/*}/.${path##*/}$mark; "$1" || exit 1
  done
}
stage() {
  if [ -d "$path" ]; then echo "$path: is a folder" >&2; return 1; fi
  if [ -L "$path" ]; then echo "$path: is a symbolic link" >&2; return 1; fi
  [ "$from" != - ] || return 0
  how=$mode
  [ ! -e "$path" ] || like=$path
  if [ "$mode" = = ]; then like=$from mode=- owner=-; fi
  facts='600 -'
  [ "$like" = - ] || facts=$(stat -c '%a %u:%g' -- "$like") || return 1
  others=${facts% *}
  [ "$key" = - ] || [ "$like" = "$path" ] || others=$(printf %o $((0$others & 0600)))
  [ "$mode" != - ] || mode=$others
  [ "$owner" != - ] || owner=${facts#* }
  (
    exec 3>"$new"; chmod 600 /proc/self/fd/3 && cat -- "$from" >&3 && alike "$from" "$new" || exit 1
    [ "$owner" = - ] || chown -- "$owner" /proc/self/fd/3 || exit 1
    chmod -- "$mode" /proc/self/fd/3
  ) && return 0
  rm -f -- "$new"
  if [ "$how" = = ] && ln -- "$from" "$new"; then return 0; fi
  echo "$path: not written" >&2; return 1
}
rename() { if [ "$from" = - ]; then rm -f -- "$path"; else mv -f -- "$new" "$path"; fi; }
unstage() { rm -f -- "$new"; }
trap 'rm -f -- "$@"' EXIT
each stage && each rename || { each unstage; exit 1; }
"""
)
# $2 is the end of the new copy's name: the host's tag, a hyphen and what it is found by; $3 how
# many of this host are kept. The list has the paths. Names begin with a number that counts up, and
# no clock does: the newest is the one that was made last.
KEEP: Final = (
    _LIST
    + """\
name=$1 keep=$2 n=0 last=0
mkdir -p -- copies && rm -rf -- copies/*.part || exit 1
for one in copies/*; do
  one=${one#copies/}; one=${one%%-*}
  case $one in *[!0-9]* | '') continue ;; esac
  last=${one#"${one%%[!0]*}"}
done
copy=copies/$(printf %08d $((${last:-0} + 1)))-$name
mkdir -- "$copy.part" || exit 1
printf '%s\\n' "$list" | while IFS= read -r path; do
  [ -n "$path" ] || continue
  n=$((n + 1))
  if [ -L "$path" ] || [ -d "$path" ]; then echo "$path: is no file" >&2; exit 1; fi
  if [ -e "$path" ]; then
    cp -p -- "$path" "$copy.part/$n" && alike "$path" "$copy.part/$n" || exit 1
    printf '%s\\t%s\\n' $n "$path" || exit 1
  else
    printf -- '-\\t%s\\n' "$path" || exit 1
  fi
done >"$copy.part/index" && mv -- "$copy.part" "$copy" || exit 1
set -- copies/????????-"${name%%-*}"-*
while [ $# -gt "$keep" ]; do rm -rf -- "$1" || exit 1; shift; done
"""
)
# $1 is the end of the name that KEEP gave; prints that of the newest, and its index.
FIND: Final = """\
set -u
found=
for one in copies/????????-"$1"; do [ ! -d "$one" ] || found=$one; done
[ -z "$found" ] || { printf '%s\\n' "$found" && cat -- "$found/index"; }
"""
# $1 is in the names of staged files, the rest are folders beside our own.
CLEAN: Final = 'm=$1; shift; for d in . "$@"; do rm -f -- "$d"/.*"$m"* || exit 1; done'
