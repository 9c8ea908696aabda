"""A Kubernetes API for the kinds in use, with one local process per container.

store     what exists, with its revisions, on disk
registry  what the API server makes of a write: defaults, validation, conflicts, deletion
api       the HTTP surface; patches, fields, watch, rbac, proxy are parts of it
controllers, deployments, ...  move the world towards what was asked for
node      runs pods as processes; services routes TCP to them

Where it is not as a real cluster, on purpose:

- Everything listens on 127.0.0.1. A container port, and each port of a Service, stands for a local
  port that an annotation tells (`local/port.8080` of a pod, `local/port.http` of a Service); a
  process finds its own in PORT, whatever its manifest says. The one of a Service can be chosen by
  setting the annotation, and stays the same for good.
- Pods have no network of their own. Each has an address of 127.64.0.0/10, as `status.podIP`; a
  program finds it in SOURCE_ADDRESS and takes it for its connections by itself, as local.workload
  does.
- Mounts are directories of the pod, to which paths in the environment and the command are
  rewritten (`environment`). What is mounted does not change while the pod runs.
- Until its first success a readiness probe is asked ten times a second, whatever its period.
- Restarts back off from one second to a minute, failed mounts from half a second to ten.
- Writes of controllers are not in managedFields; quotas know the number of pods alone, and there
  are no limits or network policies. A ReplicaSet adopts no pod and gives none away.
- A node that evicts a pod is played by whoever sets the pod's phase to `Failed`, by its status.
- All nodes are this machine. A pod goes to the one with the fewest of its like that its
  nodeSelector takes, and to none that is cordoned; nothing else that it asks for counts.
- A stop or kill of the cluster ends all pods. They start anew with it; their logs stay.
"""
