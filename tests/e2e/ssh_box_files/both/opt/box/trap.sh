#!/opt/box/host/bin/dash
# Stands in for one of the usual tools, and does something else at the chosen call of it.
set -- "$(basename "$0")" "$@"
tool=$1
shift
trap=/opt/box/traps/$tool

signal_sshd() { # every sshd but the one that listens
  for process in /proc/[0-9]*; do
    case $(readlink "$process/exe") in
    *sshd*) [ "${process#/proc/}" = "$(cat /run/sshd.pid)" ] || kill "-$1" "${process#/proc/}" ;;
    esac
  done
}

count=$(($(cat "$trap/count") + 1))
echo $count >"$trap/count"
if [ $count = "$(cat "$trap/at")" ]; then
  case $(cat "$trap/what") in
  fail)
    echo "$tool: No space left on device" >&2
    exit 1
    ;;
  cut)
    signal_sshd KILL
    ;;
  die)
    # All of the session at once: sshd may not tell how it ended.
    signal_sshd STOP
    read -r _ _ _ _ _ session _ </proc/self/stat
    for process in /proc/[0-9]*; do
      read -r _ _ _ _ _ its _ 2>/dev/null <"$process/stat" || continue
      [ "$its" != "$session" ] || [ "${process#/proc/}" = $$ ] || kill -9 "${process#/proc/}"
    done
    signal_sshd KILL
    exit 137
    ;;
  esac
fi
exec "$trap/real/$tool" "$@"
