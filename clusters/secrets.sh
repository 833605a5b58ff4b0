#!/usr/bin/env bash
# The secrets of one cluster: a token that every client and node must show, and a certificate authority of its own,
# whose certificates encrypt what Ray sends between nodes (gRPC, both sides checked).
#
#   clusters/secrets.sh make FOLDER                 once, on your own machine; the other files here say where
#   clusters/secrets.sh node FOLDER OUT [NAME ...]  on each node, before `ray start`: a certificate for its addresses
#
# `make` fills FOLDER with auth_token, ca.crt and ca.key, readable by you alone, and never replaces what is there.
# `node` fills OUT with tls.crt and tls.key, for 365 days, and replaces what is there; NAMEs are further names of the node.
# Whoever holds FOLDER can run code on the cluster. Make a new one for each cluster, keep it out of repositories, images
# and logs, and remove it when the cluster is gone. Edit: nothing. Needs: openssl 1.1.1 or later, hostname.
set -euo pipefail
umask 077

die() {
  echo "secrets.sh: $*" >&2
  exit 1
}

make_folder() {
  local folder=$1
  [ -z "$(ls -A "$folder" 2>/dev/null)" ] || die "$folder is not empty, and a cluster may use it. Name another folder."
  mkdir -p "$folder"
  chmod 700 "$folder"
  # A configuration of our own: that of the machine may add the same extensions again, and then nothing verifies
  cat >"$folder/.ca.cnf" <<'END'
[req]
prompt = no
distinguished_name = name
x509_extensions = authority
[name]
CN = authority of one raydm cluster
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
  openssl ecparam -name prime256v1 -genkey -noout -out "$folder/ca.key"
  openssl req -x509 -new -key "$folder/ca.key" -sha256 -days 365 -config "$folder/.ca.cnf" -out "$folder/ca.crt"
  openssl rand -hex 32 | tr -d '\n' >"$folder/auth_token" # 256 bits, as `ray get-auth-token --generate` makes
  rm "$folder/.ca.cnf"
  echo "secrets.sh: made $folder" >&2
}

make_node() {
  local folder=$1 out=$2 address names="DNS:localhost,IP:127.0.0.1"
  shift 2
  [ -s "$folder/ca.key" ] || die "$folder/ca.key is missing: first clusters/secrets.sh make $folder"
  # Ray calls nodes by address, and gRPC refuses a certificate that does not name the address it called
  for address in $(hostname -I); do names="$names,IP:$address"; done
  for address in "$(hostname)" "$@"; do names="$names,DNS:$address"; done
  mkdir -p "$out"
  chmod 700 "$out"
  cat >"$out/.node.cnf" <<END
[req]
prompt = no
distinguished_name = name
[name]
CN = node of one raydm cluster
[node]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
authorityKeyIdentifier = keyid
subjectAltName = $names
END
  openssl ecparam -name prime256v1 -genkey -noout -out "$out/tls.key"
  openssl req -new -key "$out/tls.key" -config "$out/.node.cnf" -out "$out/.node.csr"
  # The serial number is drawn here: many nodes sign at once, and a file of serial numbers would be shared
  openssl x509 -req -in "$out/.node.csr" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
    -sha256 -days 365 -extfile "$out/.node.cnf" -extensions node -out "$out/tls.crt" 2>"$out/.log" || die "$(cat "$out/.log")"
  rm "$out/.node.cnf" "$out/.node.csr" "$out/.log"
}

case "${1:-}:$#" in
  make:2) make_folder "$2" ;;
  node:[3-9]) make_node "${@:2}" ;;
  *) die "usage: make FOLDER | node FOLDER OUT [NAME ...]" ;;
esac
