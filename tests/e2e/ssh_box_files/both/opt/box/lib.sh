# What the box's programs share. "dsm-ssh N" in the comments is a section of the facts on DSM and
# SRM over SSH; "open" marks what no source tells.

PATH=/usr/bin:/usr/sbin:/bin:/sbin
box=/opt/box
certificates=/usr/syno/etc/certificate
packages=/usr/local/etc/certificate
normal_conf=$box/nginx.conf

# One record of the command log: uid, program, arguments, each ended by US, the record by RS.
note() { printf '%s' "$(printf '%s\037' "$(id -u)" "$@")$(printf '\036')" >>$box/calls; }

fault() { [ -e "$box/faults/$1" ]; }
fault_value() { cat "$box/faults/$1" 2>/dev/null; }

root_only() { # dsm-ssh 2.1: mode 700
  [ "$(id -u)" = 0 ] || { echo "$0: Permission denied" >&2; exit 126; }
}

# The two names of a pair below directory $1, or of the RSA half of a dual one (dsm-ssh 1.3).
prefix_of() {
  if [ -e "$1/cert.pem" ]; then echo ""; elif [ -e "$1/RSA-cert.pem" ]; then echo RSA-; fi
}

public_of_key() { openssl pkey -in "$1" -pubout 2>/dev/null; }
public_of_certificate() { openssl x509 -in "$1" -noout -pubkey 2>/dev/null; }

# Whether the files of directory $1 with prefix $2 are there, not empty, and one pair. What DSM
# itself looks at is open (dsm-ssh 8.7); that a changed fullchain.pem beside an old cert.pem fails
# is LO #1 in dsm-ssh 2.4.
pair_is_sound() {
  for file in cert fullchain privkey; do [ -s "$1/$2$file.pem" ] || return 1; done
  key=$(public_of_key "$1/$2privkey.pem") && [ -n "$key" ] || return 1
  [ "$key" = "$(public_of_certificate "$1/$2cert.pem")" ] &&
    [ "$key" = "$(public_of_certificate "$1/$2fullchain.pem")" ]
}

directory_is_sound() {
  if [ -e "$1/RSA-cert.pem" ] || [ -e "$1/ECC-cert.pem" ]; then
    for which in RSA- ECC-; do
      [ ! -e "$1/${which}cert.pem" ] || pair_is_sound "$1" "$which" || return 1
    done
  else
    pair_is_sound "$1" ""
  fi
}

# What follows from the bytes of directory $1 by command $2 and its arguments: worked out once.
remembered() {
  from=$1
  shift
  place=$box/remembered/$1-$(cat "$from"/*.pem 2>/dev/null | sha256sum | cut -c -64)
  if [ ! -e "$place" ]; then
    mkdir -p "$box/remembered"
    told=$("$@") && printf '%s' "$told" >"$place" || return 1
  fi
  cat "$place"
}

# Every service directory on the box, named in INFO or not.
service_directories() {
  for directory in $certificates/*/* $packages/*/*; do
    case $directory in $certificates/_archive/*) continue ;; esac
    [ -d "$directory" ] && echo "$directory"
  done
}

nginx_pid() { cat /run/nginx.pid 2>/dev/null; }
runs() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }
nginx_runs() { runs "$(nginx_pid)"; }
nginx_tests() { nginx -t -q -c /etc/nginx/nginx.conf; }
nginx_hup() { kill -HUP "$(nginx_pid)"; }
nginx_start() { nginx -c /etc/nginx/nginx.conf </dev/null >/dev/null 2>>/var/log/nginx/error.log; }
nginx_stop() {
  pid=$(nginx_pid)
  runs "$pid" || return 0
  kill -QUIT "$pid"
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    runs "$pid" || return 0
    sleep 0.1
  done
  kill -TERM "$pid" 2>/dev/null
  while runs "$pid"; do sleep 0.05; done
}
# dsm-ssh 2.1: in default mode nginx runs with a configuration of port 5000 and no TLS at all.
in_default_mode() { cmp -s /etc/nginx/nginx.conf /etc.defaults/nginx/nginx.conf.default; }
to_default_mode() { cat /etc.defaults/nginx/nginx.conf.default >/etc/nginx/nginx.conf; }
to_normal_mode() { cat $normal_conf >/etc/nginx/nginx.conf; }

# A package or the FTP server: its own TLS listener reads its files again only when told.
listener_reads_again() {
  pid=$(cat "/run/$1.pid" 2>/dev/null)
  runs "$pid" && kill -HUP "$pid"
}

package_is() { [ "$(cat "$box/packages/$1" 2>/dev/null)" = "$2" ]; }
package_exists() { [ -e "$box/packages/$1" ]; }
package_restarts() {
  ! fault package-restart-fails || return 1
  echo on >"$box/packages/$1"
  [ ! -e "/run/$1.pid" ] || listener_reads_again "$1"
}
