#!/opt/box/host/bin/dash
# Stands in for one of the usual tools, and does something else at the chosen call of it.
# Its own words are the shell's alone: cat, too, may be the tool.
tool=${0##*/}
trap=/opt/box/traps/$tool

signal_sshd() { # every sshd but the one that listens
  read -r listener </run/sshd.pid
  for process in /proc/[0-9]*; do
    case $(readlink "$process/exe") in
    *sshd*) [ "${process#/proc/}" = "$listener" ] || kill "-$1" "${process#/proc/}" ;;
    esac
  done
}

read -r count <"$trap/count"
read -r at <"$trap/at"
read -r what <"$trap/what"
count=$((count + 1))
echo $count >"$trap/count"
if [ $count = "$at" ]; then
  case $what in
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
