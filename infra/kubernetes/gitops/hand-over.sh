#!/bin/sh
# Gives what a rotation writes to the field manager `credential-rotation`: spec.selector of Services,
# spec.replicas of Deployments, with the values that they have. Nothing that runs is changed.
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
  echo "usage: $0 NAMESPACE service/NAME|deployment/NAME ..." >&2
  exit 64
fi
namespace=$1
shift
for object; do
  case $object in
    service/*) version=v1 kind=Service field=selector ;;
    deployment/*) version=apps/v1 kind=Deployment field=replicas ;;
    *)
      echo "$0: $object is neither service/NAME nor deployment/NAME" >&2
      exit 64
      ;;
  esac
  value=$("$kubectl" -n "$namespace" get "$object" -o jsonpath="{.spec.$field}")
  revision=$("$kubectl" -n "$namespace" get "$object" -o jsonpath='{.metadata.resourceVersion}')
  if [ -z "$value" ]; then
    echo "$0: $object in $namespace has no spec.$field: give it one first" >&2
    exit 1
  fi
  # With the revision it was read in: if a rotation moves the slot meanwhile, this is refused.
  printf '%s\n' "apiVersion: $version" "kind: $kind" \
    "metadata: {name: ${object#*/}, resourceVersion: \"$revision\"}" "spec: {$field: $value}" |
    "$kubectl" -n "$namespace" apply --server-side --field-manager=$manager --force-conflicts -f -
  # A client-side apply takes away what stood in here and stands no longer in the manifest.
  "$kubectl" -n "$namespace" annotate "$object" "$note-" --field-manager=$manager
done
