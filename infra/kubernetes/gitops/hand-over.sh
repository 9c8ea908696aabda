#!/bin/sh
# Gives what a rotation writes to the field manager `credential-rotation`: spec.selector of Services,
# spec.replicas of Deployments, spec.suspend of CronJobs, with the values that they have. Nothing that runs is changed.
#
#   hand-over.sh NAMESPACE service/api service/api-preview deployment/api-blue deployment/api-green
#
# To be run before manifests without these fields are applied for the first time, and again whenever
# older ones were applied meanwhile; a second run changes nothing. KUBECTL names another program.
set -eu

kubectl=${KUBECTL:-kubectl}
manager=credential-rotation
note=kubectl.kubernetes.io/last-applied-configuration

if [ $# -lt 2 ]; then
  echo "usage: $0 NAMESPACE service/NAME|deployment/NAME|cronjob/NAME ..." >&2
  exit 64
fi
namespace=$1
shift

# claim OBJECT VERSION KIND FIELD: with the revision that the value was read in, so that a rotation which
# moves the slot meanwhile is not undone. Refused then, and for any other write in between.
claim() {
  found=$("$kubectl" -n "$namespace" get "$1" -o jsonpath="{.metadata.resourceVersion} {.spec.$4}")
  if [ -z "${found#* }" ]; then
    echo "$0: $1 in $namespace has no spec.$4: give it one first" >&2
    exit 1
  fi
  printf '%s\n' "apiVersion: $2" "kind: $3" \
    "metadata: {name: ${1#*/}, resourceVersion: \"${found%% *}\"}" "spec: {$4: ${found#* }}" |
    "$kubectl" -n "$namespace" apply --server-side --field-manager=$manager --force-conflicts -f -
}

for object; do
  case $object in
    service/*) what="v1 Service selector" ;;
    deployment/*) what="apps/v1 Deployment replicas" ;;
    cronjob/*) what="batch/v1 CronJob suspend" ;;
    *)
      echo "$0: $object is none of service/NAME, deployment/NAME and cronjob/NAME" >&2
      exit 64
      ;;
  esac
  # A client-side apply takes away what stands in this annotation and not in the manifest. It goes first:
  # with it, kubectl would make all that was applied so far the manager's, and remove it as not named here.
  "$kubectl" -n "$namespace" annotate "$object" "$note-" --field-manager=$manager
  # shellcheck disable=SC2086 # three words
  claim "$object" $what || claim "$object" $what || claim "$object" $what
done
