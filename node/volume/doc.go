// Package volume keeps what pods need of a host's file system: their directories, volumes, /etc/hosts and termination
// message files. It implements node.Files. Volumes that a driver would have to provide are refused in plain words.
//
// Everything of a pod is below ROOT/pods/UID, in upstream's layout:
//
//	volumes/NAME               emptyDir and what is projected from the API
//	volume-subpaths/V/C/N      bind mounts of subPaths
//	containers/NAME/ATTEMPT    the termination message file of one container
//	etc-hosts
//
// Projected content (configMap, secret, downwardAPI, projected) changes all at once: files are links through ..data,
// which is a link that is renamed over.
package volume
