package podtemplate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// pod is a defaulted pod whose spec is the given JSON laid over one container.
func pod(t testing.TB, spec string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}}
	for _, s := range []string{`{"containers":[{"name":"c","image":"i"}],"serviceAccountName":"default"}`, spec} {
		if err := json.Unmarshal([]byte(s), &p.Spec); err != nil {
			t.Fatal(err)
		}
	}
	DefaultPod(p)
	return p
}

func texts(errs field.ErrorList) []string {
	out := []string{}
	for _, e := range errs {
		out = append(out, e.Error())
	}
	slices.Sort(out)
	return out
}

// TestValidate has rules that the recorded cases do not reach, after upstream's.
func TestValidate(t *testing.T) {
	const (
		c      = "spec.containers[0]"
		source = `{"containers":[{"name":"c","image":"i"}],"volumes":[{"name":"v",`
	)
	for _, test := range []struct {
		name, spec string
		want       []string
	}{
		{"plain", `{}`, nil},
		{"ephemeral container", `{"ephemeralContainers":[{"name":"e","image":"i"}]}`, []string{"spec.ephemeralContainers: Forbidden: cannot be set on create"}},
		{"gated and assigned", `{"nodeName":"n","schedulingGates":[{"name":"g"}]}`, []string{"spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"}},
		{"deadline", `{"activeDeadlineSeconds":0}`, []string{"spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"}},
		{"restart policy", `{"restartPolicy":"X"}`, []string{`spec.restartPolicy: Unsupported value: "X": supported values: "Always", "OnFailure", "Never"`}},
		{"hostname", `{"hostname":"a.b"}`, []string{`spec.hostname: Invalid value: "a.b": must not contain dots`}},
		{"dns none", `{"dnsPolicy":"None"}`, []string{"spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"}},
		{"dns none, no servers", `{"dnsPolicy":"None","dnsConfig":{}}`, []string{"spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"}},
		{"os", `{"os":{"name":"beos"}}`, []string{`spec.os: Unsupported value: "beos": supported values: "linux", "windows"`}},
		{"os without name", `{"os":{"name":""}}`, []string{"spec.os.name: Required value: cannot be empty"}},
		{"preemption policy", `{"preemptionPolicy":"X"}`, []string{`spec.preemptionPolicy: Unsupported value: "X": supported values: "PreemptLowerPriority", "Never"`}},
		{"overhead", `{"overhead":{"foo":"1"}}`, []string{
			"spec.overhead.limits[foo]: Invalid value: foo: must be a standard resource for containers",
			"spec.overhead.limits[foo]: Invalid value: foo: must be a standard resource type or fully qualified"}},
		{"tolerations", `{"tolerations":[{"operator":"Equal"},{"key":"a","operator":"Exists","value":"v"},{"key":"a","operator":"Foo"},{"key":"a","effect":"NoSchedule","tolerationSeconds":1},{"key":"a","effect":"Foo"}]}`, []string{
			"spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
			"spec.tolerations[1].operator: Invalid value: \"v\": value must be empty when `operator` is 'Exists'",
			`spec.tolerations[2].operator: Unsupported value: "Foo": supported values: "Equal", "Exists"`,
			"spec.tolerations[3].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
			`spec.tolerations[4].effect: Unsupported value: "Foo": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`}},
		{"spread", `{"topologySpreadConstraints":[{"maxSkew":0,"topologyKey":"","whenUnsatisfiable":"X","minDomains":0,"nodeAffinityPolicy":"X","matchLabelKeys":["a"]}]}`, []string{
			"spec.topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
			"spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
			"spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not X",
			"spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero",
			`spec.topologySpreadConstraints[0].nodeAffinityPolicy: Unsupported value: "X": supported values: "Honor", "Ignore"`,
			"spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
			`spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "X": supported values: "DoNotSchedule", "ScheduleAnyway"`}},
		{"spread keys", `{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"a":"b"}},"matchLabelKeys":["a"]}]}`, []string{
			`spec.topologySpreadConstraints[0].matchLabelKeys[0]: Invalid value: "a": exists in both matchLabelKeys and labelSelector`}},
		{"affinity keys", `{"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"z","matchLabelKeys":["a"]},{"topologyKey":"z","labelSelector":{},"matchLabelKeys":["a"],"mismatchLabelKeys":["a"]}]}}}`, []string{
			"spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
			`spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].matchLabelKeys[0]: Invalid value: "a": exists in both matchLabelKeys and mismatchLabelKeys`}},
		{"sysctls of the host", `{"hostNetwork":true,"hostIPC":true,"securityContext":{"sysctls":[{"name":"net.core.somaxconn","value":"1"},{"name":"kernel/shm_rmid_forced","value":"1"},{"name":"vm.swappiness","value":"1"}]}}`, []string{
			`spec.securityContext.sysctls[0].name: Invalid value: "net.core.somaxconn": may not be specified when 'hostNetwork' is true`,
			`spec.securityContext.sysctls[1].name: Invalid value: "kernel/shm_rmid_forced": may not be specified when 'hostIPC' is true`}},
		{"windows host process", `{"containers":[{"name":"a","image":"i","securityContext":{"windowsOptions":{"hostProcess":true}}},{"name":"b","image":"i"}],"hostNetwork":true}`, []string{
			`spec: Invalid value: "": If pod contains any hostProcess containers then all containers must be HostProcess containers`}},
		{"windows host process, differing", `{"containers":[{"name":"a","image":"i","securityContext":{"windowsOptions":{"hostProcess":false}}}],"hostNetwork":true,"securityContext":{"windowsOptions":{"hostProcess":true}}}`, []string{
			c + ".securityContext.windowsOptions.hostProcess: Invalid value: false: pod hostProcess value must be identical if both are specified, was true"}},
		{"windows user", `{"containers":[{"name":"c","image":"i","securityContext":{"windowsOptions":{"runAsUserName":"d\\u\\x"}}}],"securityContext":{"windowsOptions":{"runAsUserName":"a*\\.."}}}`, []string{
			`spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value: "d\\u\\x": runAsUserName cannot contain more than one backslash`,
			`spec.securityContext.windowsOptions.runAsUserName: Invalid value: "a*\\..": runAsUserName's Domain doesn't match the NetBios nor the DNS format`,
			`spec.securityContext.windowsOptions.runAsUserName: Invalid value: "a*\\..": runAsUserName's User cannot contain only periods or spaces`}},
		{"termination message policy", `{"containers":[{"name":"c","image":"i","terminationMessagePolicy":"X"}]}`, []string{
			c + `.terminationMessagePolicy: Unsupported value: "X": supported values: "File", "FallbackToLogsOnError"`}},
		{"restart policy of a container", `{"containers":[{"name":"c","image":"i","restartPolicy":"Always"}]}`, []string{c + ".restartPolicy: Forbidden: may not be set for non-init containers"}},
		{"two probe handlers", `{"containers":[{"name":"c","image":"i","readinessProbe":{"exec":{"command":["x"]},"tcpSocket":{"port":1},"terminationGracePeriodSeconds":1}}]}`, []string{
			c + ".readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
			c + ".readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes"}},
		{"hooks", `{"containers":[{"name":"c","image":"i","lifecycle":{"postStart":{},"preStop":{"sleep":{"seconds":31}}}}]}`, []string{
			c + ".lifecycle.postStart: Required value: must specify a handler type",
			c + ".lifecycle.preStop.sleep: Invalid value: 31: must be greater than 0 and less than terminationGracePeriodSeconds (30). Enable AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep."}},
		{"env from", `{"containers":[{"name":"c","image":"i","envFrom":[{},{"configMapRef":{"name":""}},{"prefix":"=","secretRef":{"name":"s"}}]}]}`, []string{
			c + ".envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
			c + ".envFrom[1].configMapRef.name: Required value",
			c + `.envFrom[2].prefix: Invalid value: "=": a valid environment variable name must consist only of printable ASCII characters other than '='`}},
		{"value and source", `{"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"x","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]}]}`, []string{
			c + ".env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"}},
		{"field refs", `{"containers":[{"name":"c","image":"i","env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['a b']"}}},{"name":"B","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels"}}},{"name":"C","valueFrom":{"fieldRef":{"fieldPath":"spec.nodeName['x']"}}}]}]}`, []string{
			c + `.env[0].valueFrom.fieldRef: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
			c + `.env[1].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"`,
			c + `.env[2].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nodeName['x']": error converting fieldPath: field label does not support subscript: spec.nodeName`}},
		{"divisor of bytes", `{"containers":[{"name":"c","image":"i","env":[{"name":"A","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"3"}}}]}]}`, []string{
			c + `.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.memory": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource`}},
		{"negative request", `{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"-1"}}}]}`, []string{c + `.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0`}},
		{"request without limit", `{"containers":[{"name":"c","image":"i","resources":{"requests":{"a.com/gpu":"1"}}}]}`, []string{c + ".resources.limits: Required value: Limit must be set for non overcommitable resources"}},
		{"mounts", `{"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"v","mountPath":"/a","subPath":"/x"},{"name":"v","mountPath":"/a","subPath":"a","subPathExpr":".."},{"name":"","mountPath":""}]}],"volumes":[{"name":"v","emptyDir":{}}]}`, []string{
			c + `.volumeMounts.subPath: Invalid value: "/x": must be a relative path`,
			c + `.volumeMounts.subPathExpr: Invalid value: "..": must not contain '..'`,
			c + `.volumeMounts[1].mountPath: Invalid value: "/a": must be unique`,
			c + `.volumeMounts[1].subPathExpr: Invalid value: "..": subPathExpr and subPath are mutually exclusive`,
			c + `.volumeMounts[2].mountPath: Required value`, c + `.volumeMounts[2].name: Not found: ""`, c + `.volumeMounts[2].name: Required value`}},
		{"devices", `{"containers":[{"name":"c","image":"i","volumeDevices":[{"name":"v","devicePath":"../x"},{"name":"w","devicePath":"/m"}],"volumeMounts":[{"name":"v","mountPath":"/m"}]}],"volumes":[{"name":"v","emptyDir":{}}]}`, []string{
			c + `.volumeDevices[0].devicePath: Invalid value: "../x": can not contain backsteps ('..')`,
			c + `.volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode`,
			c + `.volumeDevices[0].name: Invalid value: "v": must not already exist in volumeMounts`,
			c + `.volumeDevices[1].devicePath: Invalid value: "/m": must not already exist as a path in volumeMounts`,
			c + `.volumeDevices[1].name: Not found: "w"`,
			c + `.volumeMounts[0].mountPath: Invalid value: "/m": must not already exist as a path in volumeDevices`,
			c + `.volumeMounts[0].name: Invalid value: "v": must not already exist in volumeDevices`}},
		{"host path", source + `"hostPath":{"path":"/a/../b","type":"X"}}]}`, []string{
			`spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
			`spec.volumes[0].hostPath.type: Unsupported value: "X": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"`}},
		{"items", source + `"secret":{"secretName":"s","items":[{"key":"","path":"..x"},{"key":"k","path":"/a","mode":512}]}}]}`, []string{
			"spec.volumes[0].secret.items[0].key: Required value",
			`spec.volumes[0].secret.items[0].path: Invalid value: "..x": must not start with '..'`,
			"spec.volumes[0].secret.items[1].mode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
			`spec.volumes[0].secret.items[1].path: Invalid value: "/a": must be a relative path`}},
		{"token", source + `"projected":{"sources":[{"serviceAccountToken":{"path":"","expirationSeconds":1},"secret":{"name":"s"}}]}}]}`, []string{
			"spec.volumes[0].projected.path: Required value",
			"spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
			"spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"}},
		{"nfs", source + `"nfs":{"server":"","path":"x"}}]}`, []string{
			`spec.volumes[0].nfs.path: Invalid value: "x": must be an absolute path`, "spec.volumes[0].nfs.server: Required value"}},
		{"fc", source + `"fc":{"targetWWNs":["a"],"wwids":["b"]}}]}`, []string{
			"spec.volumes[0].fc.lun: Required value: lun is required if targetWWNs is specified",
			`spec.volumes[0].fc.targetWWNs: Invalid value: ["a"]: targetWWNs and wwids can not be specified simultaneously`}},
		{"quobyte", source + `"quobyte":{"registry":"x","volume":""}}]}`, []string{
			`spec.volumes[0].quobyte.registry: Invalid value: "x": must be a host:port pair or multiple pairs separated by commas`, "spec.volumes[0].quobyte.volume: Required value"}},
		{"disks", `{"volumes":[{"name":"v","gcePersistentDisk":{"pdName":"","partition":256}},{"name":"w","awsElasticBlockStore":{"volumeID":"","partition":-1}},{"name":"x","azureDisk":{"diskName":"d","diskURI":"x","kind":"Managed"}}]}`, []string{
			"spec.volumes[0].persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive", "spec.volumes[0].persistentDisk.pdName: Required value",
			"spec.volumes[1].awsElasticBlockStore.partition: Invalid value: -1: must be between 1 and 255, inclusive", "spec.volumes[1].awsElasticBlockStore.volumeID: Required value",
			`spec.volumes[2].azureDisk.diskURI: Unsupported value: "x": supported values: "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"`}},
		{"flex", source + `"flexVolume":{"driver":"","options":{"a.k8s.io/x":"y"}}}]}`, []string{
			"spec.volumes[0].flexVolume.driver: Required value",
			`spec.volumes[0].flexVolume.options[a.k8s.io/x]: Invalid value: "a.k8s.io/x": kubernetes.io and k8s.io namespaces are reserved`}},
		{"others", `{"volumes":[{"name":"a","cinder":{"volumeID":"","secretRef":{}}},{"name":"b","cephfs":{}},{"name":"d","azureFile":{}},{"name":"e","scaleIO":{}},{"name":"f","storageos":{"secretRef":{}}},{"name":"g","vsphereVolume":{}},{"name":"h","photonPersistentDisk":{}},{"name":"i","portworxVolume":{}}]}`, []string{
			"spec.volumes[0].cinder.secretRef.name: Required value", "spec.volumes[0].cinder.volumeID: Required value", "spec.volumes[1].cephfs.monitors: Required value",
			"spec.volumes[2].azureFile.secretName: Required value", "spec.volumes[2].azureFile.shareName: Required value",
			"spec.volumes[3].scaleIO.gateway: Required value", "spec.volumes[3].scaleIO.system: Required value", "spec.volumes[3].scaleIO.volumeName: Required value",
			"spec.volumes[4].storageos.secretRef.name: Required value", "spec.volumes[4].storageos.volumeName: Required value",
			"spec.volumes[5].vsphereVolume.volumePath: Required value", "spec.volumes[6].photonPersistentDisk.pdID: Required value", "spec.volumes[7].portworxVolume.volumeID: Required value"}},
		{"iscsi", source + `"iscsi":{"targetPortal":"` + strings.Repeat("t", 63) + `","iqn":"iqn.x","lun":-1,"chapAuthSession":true,"initiatorName":"x"}}]}`, []string{
			"spec.volumes[0].iscsi.initiatorname: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa",
			"spec.volumes[0].iscsi.iqn: Invalid value: \"iqn.x\": must be valid format", "spec.volumes[0].iscsi.lun: Invalid value: -1: must be between 0 and 255, inclusive",
			"spec.volumes[0].iscsi.secretRef: Required value",
			`spec.volumes[0].name: Invalid value: "v": Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.`}},
		{"csi", source + `"csi":{"driver":"","nodePublishSecretRef":{}}}]}`, []string{
			`spec.volumes[0].csi.driver: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
			"spec.volumes[0].csi.driver: Required value", "spec.volumes[0].csi.nodePublishSecretRef.name: Required value"}},
		{"ephemeral claims", `{"volumes":[{"name":"v","ephemeral":{"volumeClaimTemplate":{"metadata":{"name":"x"},"spec":{"accessModes":["ReadWriteOncePod","ReadOnlyMany"]}}}},{"name":"w","persistentVolumeClaim":{"claimName":"p-v"}}]}`, []string{
			"spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
			"spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
			"spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
			`spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: "p-v": must not reference a PVC that gets created for an ephemeral volume`}},
		{"claim sources", source + `"ephemeral":{"volumeClaimTemplate":{"metadata":{"finalizers":[]},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1"}},"dataSource":{"kind":"PersistentVolumeClaim","name":"a"},"dataSourceRef":{"kind":"PersistentVolumeClaim","name":"b"}}}}},
			{"name":"w","ephemeral":{"volumeClaimTemplate":{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1"}},"dataSource":{"kind":"PersistentVolumeClaim","name":"a"},"dataSourceRef":{"kind":"PersistentVolumeClaim","name":"a","namespace":"x.y"}}}}}]}`, []string{
			"spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.finalizers: Forbidden: cannot be set",
			`spec.volumes[0].ephemeral.volumeClaimTemplate.spec: Invalid value: {}: must match dataSourceRef`,
			`spec.volumes[1].ephemeral.volumeClaimTemplate.spec.dataSourceRef.namespace: Invalid value: "x.y": must not contain dots`,
			`spec.volumes[1].ephemeral.volumeClaimTemplate.spec: Invalid value: {}: may not be specified when dataSourceRef.namespace is specified`}},
		{"values that no label has", `{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"k","operator":"In","values":["a b"]}]}]}}}}`, nil},
		{"two sources", source + `"projected":{"sources":[]},"azureDisk":{"diskName":"d","diskURI":"x"}}]}`, []string{
			`spec.volumes[0].azureDisk.diskURI: Unsupported value: "x": supported values: "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"`,
			"spec.volumes[0].projected: Forbidden: may not specify more than 1 volume type"}},
		{"profiles", `{"securityContext":{"appArmorProfile":{"type":"Localhost","localhostProfile":" a"},"seccompProfile":{"type":""}},"containers":[{"name":"c","image":"i","securityContext":{"procMount":"Unmasked","appArmorProfile":{"type":"RuntimeDefault","localhostProfile":"x"}}}]}`, []string{
			c + `.securityContext.appArmorProfile.localhostProfile: Invalid value: "x": can only be set when AppArmor type is Localhost`,
			c + ".securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
			`spec.securityContext.appArmorProfile.localhostProfile: Invalid value: " a": must not be padded with whitespace`,
			"spec.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set"}},
		{"token without account", `{"serviceAccountName":"","serviceAccount":"","volumes":[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"t"}}]}}]}`, []string{
			"spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := texts(ValidateCreate(pod(t, test.spec)))
			want := append([]string{}, test.want...)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		})
	}
}

func TestPullPolicy(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for image, want := range map[string]corev1.PullPolicy{
		"nginx": corev1.PullAlways, "nginx:latest": corev1.PullAlways, "nginx:1.25": corev1.PullIfNotPresent,
		"reg:5000/a/b": corev1.PullAlways, "reg.io:5000/a/b:v1": corev1.PullIfNotPresent, "nginx" + digest: corev1.PullIfNotPresent,
		"nginx:latest" + digest: corev1.PullAlways, "": corev1.PullIfNotPresent, "UPPER": corev1.PullIfNotPresent, "a//b": corev1.PullIfNotPresent,
		"REG.io/a": corev1.PullAlways, " nginx": corev1.PullIfNotPresent, "a__b:latest": corev1.PullAlways, "nginx:Latest": corev1.PullIfNotPresent,
		strings.Repeat("a", 64): corev1.PullIfNotPresent,
	} {
		if got := pullPolicy(image); got != want {
			t.Errorf("pullPolicy(%q) = %s, want %s", image, got, want)
		}
		// The short cut must agree with the grammar wherever it does not decline.
		if tag, plain := plainTag(image); plain && tag != referenceTag(image) {
			t.Errorf("plainTag(%q) = %q, the reference has %q", image, tag, referenceTag(image))
		}
	}
	// Fields of up to four characters tell the two apart if anything does.
	const alphabet = "a1.-_:/"
	for n := range len(alphabet) * len(alphabet) * len(alphabet) * len(alphabet) {
		var b []byte
		for range 4 {
			b, n = append(b, alphabet[n%len(alphabet)]), n/len(alphabet)
		}
		if tag, plain := plainTag(string(b)); plain && tag != referenceTag(string(b)) {
			t.Errorf("plainTag(%q) = %q, the reference has %q", b, tag, referenceTag(string(b)))
		}
	}
}

func TestQOSClass(t *testing.T) {
	for _, c := range []struct {
		resources string
		want      corev1.PodQOSClass
	}{
		{`{}`, corev1.PodQOSBestEffort},
		{`{"requests":{"cpu":"0"}}`, corev1.PodQOSBestEffort},
		{`{"requests":{"ephemeral-storage":"1"}}`, corev1.PodQOSBestEffort},
		{`{"requests":{"cpu":"1"}}`, corev1.PodQOSBurstable},
		{`{"limits":{"cpu":"1"}}`, corev1.PodQOSBurstable},
		{`{"limits":{"cpu":"1","memory":"1"}}`, corev1.PodQOSGuaranteed},
		{`{"limits":{"cpu":"1","memory":"1"},"requests":{"cpu":"1000m"}}`, corev1.PodQOSGuaranteed},
		{`{"limits":{"cpu":"1","memory":"1"},"requests":{"cpu":"500m"}}`, corev1.PodQOSBurstable},
	} {
		p := pod(t, `{"containers":[{"name":"c","image":"i","resources":`+c.resources+`}]}`)
		if got := QOSClass(&p.Spec); got != c.want {
			t.Errorf("%s: %s, want %s", c.resources, got, c.want)
		}
		p = pod(t, `{"containers":[{"name":"c","image":"i","resources":`+c.resources+`}],"initContainers":[{"name":"i","image":"i","resources":{"limits":{"cpu":"1"}}}]}`)
		if got := QOSClass(&p.Spec); got != corev1.PodQOSBurstable {
			t.Errorf("%s with a limited init container: %s, want Burstable", c.resources, got)
		}
	}
}

func TestDefaultIsIdempotent(t *testing.T) {
	p := pod(t, `{"containers":[{"name":"c","image":"i","ports":[{"containerPort":1}],"env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],
		"livenessProbe":{"grpc":{"port":1}},"lifecycle":{"preStop":{"httpGet":{"port":1}}},"resources":{"limits":{"cpu":"0.0001","memory":"1.5"}}}],"hostNetwork":true,
		"volumes":[{"name":"a"},{"name":"b","projected":{"sources":[{"serviceAccountToken":{"path":"t"}}]}},{"name":"c","azureDisk":{"diskName":"d","diskURI":"u"}},
		{"name":"d","rbd":{"monitors":["m"],"image":"i"}},{"name":"e","scaleIO":{}},{"name":"f","hostPath":{"path":"/"}},{"name":"g","iscsi":{}}]}`)
	once := p.DeepCopy()
	DefaultPod(p)
	if !Same(&p.Spec, &once.Spec) {
		t.Error("a second default changes the spec")
	}
	c := &p.Spec.Containers[0]
	if got := c.Resources.Requests.Cpu().String(); got != "1m" {
		t.Errorf("cpu rounds up to %s, want 1m", got)
	}
	if got := c.Ports[0].HostPort; got != 1 {
		t.Errorf("host port %d, want the container's", got)
	}
	if p.Spec.Volumes[0].EmptyDir == nil {
		t.Error("a volume without a source is no emptyDir")
	}
}

func TestSame(t *testing.T) {
	a, b := pod(t, `{"tolerations":[]}`), pod(t, `{}`)
	if !Same(&a.Spec, &b.Spec) {
		t.Error("an empty list differs from none")
	}
	b = pod(t, `{"hostname":"h"}`)
	if Same(&a.Spec, &b.Spec) {
		t.Error("a hostname makes no difference")
	}
}

func TestDropUnserved(t *testing.T) {
	p := pod(t, `{"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"i","mountPath":"/i"},{"name":"k","mountPath":"/k"}],"resizePolicy":[{"resourceName":"cpu","restartPolicy":"NotRequired"}],
		"securityContext":{"procMount":"Unmasked"}}],"volumes":[{"name":"i","image":{"reference":"r"}},{"name":"k","emptyDir":{}}],"hostUsers":false,"resourceClaims":[{"name":"r"}],
		"ephemeralContainers":[{"name":"e","resizePolicy":[]}]}`)
	DropUnserved(&p.Spec)
	if p.Spec.EphemeralContainers[0].ResizePolicy != nil {
		t.Error("kept the resize policy of an ephemeral container")
	}
	c := p.Spec.Containers[0]
	if p.Spec.HostUsers != nil || p.Spec.ResourceClaims != nil || c.ResizePolicy != nil || *c.SecurityContext.ProcMount != corev1.DefaultProcMount {
		t.Errorf("kept what is not served: %+v", p.Spec)
	}
	if len(p.Spec.Volumes) != 1 || len(c.VolumeMounts) != 1 || c.VolumeMounts[0].Name != "k" {
		t.Errorf("volumes %v and mounts %v, want those of k", p.Spec.Volumes, c.VolumeMounts)
	}
}

func TestSyncAppArmor(t *testing.T) {
	const key = apparmorPrefix + "c"
	for _, c := range []struct {
		name, spec, annotation     string
		wantProfile, wantAnnotated string
		warned                     bool
	}{
		{"neither", `{}`, "", "", "", false},
		{"annotation", `{}`, "localhost/x", `{"type":"Localhost","localhostProfile":"x"}`, "localhost/x", true},
		{"malformed annotation", `{}`, "foo", "", "foo", true},
		{"field", `{"containers":[{"name":"c","image":"i","securityContext":{"appArmorProfile":{"type":"Unconfined"}}}]}`, "", `{"type":"Unconfined"}`, "unconfined", false},
		{"pod's field", `{"securityContext":{"appArmorProfile":{"type":"RuntimeDefault"}}}`, "", "", "runtime/default", false},
		{"pod's field and equal annotation", `{"securityContext":{"appArmorProfile":{"type":"RuntimeDefault"}}}`, "runtime/default", "", "runtime/default", false},
		{"windows", `{"os":{"name":"windows"}}`, "runtime/default", "", "runtime/default", false},
	} {
		p := pod(t, c.spec)
		if c.annotation != "" {
			p.Annotations = map[string]string{key: c.annotation}
		}
		if warnings := SyncAppArmor(p); len(warnings) > 0 != c.warned {
			t.Errorf("%s: warnings %q", c.name, warnings)
		}
		got := ""
		if sc := p.Spec.Containers[0].SecurityContext; sc != nil && sc.AppArmorProfile != nil {
			b, err := json.Marshal(sc.AppArmorProfile)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
		}
		if got != c.wantProfile || p.Annotations[key] != c.wantAnnotated {
			t.Errorf("%s: profile %s and annotation %q, want %s and %q", c.name, got, p.Annotations[key], c.wantProfile, c.wantAnnotated)
		}
	}
}

func TestAnnotations(t *testing.T) {
	p := pod(t, `{"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}}}`)
	p.Annotations = map[string]string{
		"controller.kubernetes.io/pod-deletion-cost":       "+1",
		"seccomp.security.alpha.kubernetes.io/pod":         "unconfined",
		"container.seccomp.security.alpha.kubernetes.io/c": "foo",
		apparmorPrefix + "nope":                            "foo",
		"scheduler.alpha.kubernetes.io/tolerations":        `[{"operator":"Equal"}]`,
	}
	want := []string{
		`metadata.annotations.container.seccomp.security.alpha.kubernetes.io/c: Invalid value: "foo": must be a valid seccomp profile`,
		"metadata.annotations.scheduler.alpha.kubernetes.io/tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
		`metadata.annotations[container.apparmor.security.beta.kubernetes.io/nope]: Invalid value: "foo": invalid AppArmor profile name: "foo"`,
		`metadata.annotations[container.apparmor.security.beta.kubernetes.io/nope]: Invalid value: "nope": container not found`,
		`metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+1": must be a 32bit integer`,
		"spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match",
	}
	if got := texts(ValidateCreate(p)); !slices.Equal(got, want) {
		t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	for v, ok := range map[string]bool{"0": true, "-1": true, "10": true, "": false, "00": false, "-0": false, "+1": false, "1.5": false, "2147483648": false, "-": false, "x": false} {
		if isDeletionCost(v) != ok {
			t.Errorf("isDeletionCost(%q) = %v", v, !ok)
		}
	}
}

func TestWarn(t *testing.T) {
	p := pod(t, `{"containers":[{"name":"c","image":"i","ports":[{"containerPort":1,"hostIP":"1.2.3.4"},{"containerPort":1,"hostPort":5}],"env":[{"name":"A","value":"1"},{"name":"A","value":"$(A)2"}]}],
		"initContainers":[{"name":"i","image":"i","ports":[{"containerPort":1}],"resources":{"limits":{"ephemeral-storage":"100m"}}}],
		"hostAliases":[{"ip":"1.1.1.1"},{"ip":"1.1.1.1"}],"imagePullSecrets":[{"name":"a"},{"name":"a"}],
		"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"beta.kubernetes.io/os","whenUnsatisfiable":"DoNotSchedule"}],
		"affinity":{"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"podAffinityTerm":{"topologyKey":"z"}}]},
		"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"preference":{"matchExpressions":[{"key":"beta.kubernetes.io/arch","operator":"In","values":["-"]}]}}]}},
		"volumes":[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"t"}},{"secret":{"name":"s","items":[{"key":"k","path":"t"}]}}]}},{"name":"r","rbd":{}}]}`)
	p.Annotations = map[string]string{"scheduler.alpha.kubernetes.io/critical-pod": "", "seccomp.security.alpha.kubernetes.io/pod": ""}
	want := []string{
		`metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field instead`,
		`metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "seccompProfile" field instead`,
		`spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use "kubernetes.io/arch" instead`,
		`spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod`,
		`spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:1 Protocol:TCP HostIP:1.2.3.4}`,
		`spec.containers[0].ports[0]: overlapping port definition with spec.initContainers[0].ports[0]`,
		`spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]`,
		`spec.containers[0].ports[1]: overlapping port definition with spec.initContainers[0].ports[0]`,
		`spec.hostAliases[1].ip: duplicate ip "1.1.1.1"`,
		`spec.imagePullSecrets[1].name: duplicate name "a"`,
		`spec.initContainers[0].resources.limits[ephemeral-storage]: fractional byte value "100m" is invalid, must be an integer`,
		`spec.initContainers[0].resources.requests[ephemeral-storage]: fractional byte value "100m" is invalid, must be an integer`,
		`spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod`,
		`spec.topologySpreadConstraints[0].topologyKey: beta.kubernetes.io/os is deprecated since v1.14; use "kubernetes.io/os" instead`,
		`spec.volumes[0].projected.sources.secrets[0]: has duplicated path with ServiceAccountToken "t"`,
		`spec.volumes[1].rbd: deprecated in v1.28, non-functional in v1.31+`,
		`volume "v" (Projected): overlapping paths: "t" (Secret "s") with "t" (ServiceAccountToken)`,
	}
	got := WarnPod(p)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	template := WarnTemplate(field.NewPath("spec", "template"), &corev1.PodTemplateSpec{ObjectMeta: p.ObjectMeta, Spec: p.Spec})
	if len(template) != len(got) || !strings.HasPrefix(template[0], "spec.template.") {
		t.Errorf("of a template: %q", template)
	}
}
