package podtemplate

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// volumeSet holds the well-formed volumes of a spec by name: what mounts may refer to.
type volumeSet map[string]*corev1.VolumeSource

// claimBacked reports whether the named volume exists and whether it can be a block device.
func (v volumeSet) claimBacked(name string) (found, claim bool) {
	s, found := v[name]
	return found, found && (s.PersistentVolumeClaim != nil || s.Ephemeral != nil)
}

// validateVolumes checks spec.volumes. pod names the pod they belong to; "" in a template.
func validateVolumes(p *field.Path, vs []corev1.Volume, pod string) (volumeSet, field.ErrorList) {
	var errs field.ErrorList
	set := make(volumeSet, len(vs))
	for i := range vs {
		v, vp := &vs[i], p.Index(i)
		bad := validateVolumeSource(vp, v, pod)
		switch {
		case v.Name == "":
			bad = append(bad, field.Required(vp.Child("name"), ""))
		default:
			bad = append(bad, rules.Invalid(vp, v.Name, rules.DNSLabel(v.Name), "name")...)
		}
		if _, ok := set[v.Name]; ok {
			bad = append(bad, field.Duplicate(vp.Child("name"), v.Name))
		}
		if len(bad) == 0 {
			set[v.Name] = &v.VolumeSource
		}
		errs = append(errs, bad...)
		if c := v.PersistentVolumeClaim; c != nil && pod != "" && createsClaim(vs, pod, c.ClaimName) {
			errs = append(errs, field.Invalid(vp.Child("persistentVolumeClaim", "claimName"), c.ClaimName,
				"must not reference a PVC that gets created for an ephemeral volume"))
		}
	}
	return set, errs
}

// createsClaim reports whether one of the pod's ephemeral volumes makes a claim of that name.
func createsClaim(vs []corev1.Volume, pod, claim string) bool {
	for i := range vs {
		if vs[i].Ephemeral != nil && pod+"-"+vs[i].Name == claim {
			return true
		}
	}
	return false
}

// A sourceRule checks one type of volume source when it is set. name is the field as upstream's complaint about a
// second source spells it, which is not always the field's name; path is the field under which its own errors are.
type sourceRule struct {
	name, path string
	present    func(s *corev1.VolumeSource) bool
	check      func(p *field.Path, s *corev1.VolumeSource) field.ErrorList
}

// source makes a sourceRule of the accessor of a source's pointer and its check.
func source[T any](name string, get func(s *corev1.VolumeSource) *T, check func(p *field.Path, s *T) field.ErrorList) sourceRule {
	return sourceRule{
		name: name, path: name,
		present: func(s *corev1.VolumeSource) bool { return get(s) != nil },
		check:   func(p *field.Path, s *corev1.VolumeSource) field.ErrorList { return check(p, get(s)) },
	}
}

func (r sourceRule) named(name string) sourceRule { r.name = name; return r }
func (r sourceRule) under(path string) sourceRule { r.path = path; return r }

type volume = corev1.VolumeSource

// sourceRules are in upstream's order, which decides which of several sources is the first.
var sourceRules = []sourceRule{
	source("emptyDir", func(s *volume) *corev1.EmptyDirVolumeSource { return s.EmptyDir }, validateEmptyDir),
	source("hostPath", func(s *volume) *corev1.HostPathVolumeSource { return s.HostPath }, validateHostPath),
	source("gitRepo", func(s *volume) *corev1.GitRepoVolumeSource { return s.GitRepo }, validateGitRepo),
	source("gcePersistentDisk", func(s *volume) *corev1.GCEPersistentDiskVolumeSource { return s.GCEPersistentDisk }, validateGCEDisk).under("persistentDisk"),
	source("awsElasticBlockStore", func(s *volume) *corev1.AWSElasticBlockStoreVolumeSource { return s.AWSElasticBlockStore }, validateAWSDisk),
	source("secret", func(s *volume) *corev1.SecretVolumeSource { return s.Secret }, validateSecretVolume),
	source("nfs", func(s *volume) *corev1.NFSVolumeSource { return s.NFS }, validateNFS),
	source("iscsi", func(s *volume) *corev1.ISCSIVolumeSource { return s.ISCSI }, validateISCSI),
	source("glusterfs", func(s *volume) *corev1.GlusterfsVolumeSource { return s.Glusterfs }, validateGlusterfs),
	source("flocker", func(s *volume) *corev1.FlockerVolumeSource { return s.Flocker }, validateFlocker),
	source("persistentVolumeClaim", func(s *volume) *corev1.PersistentVolumeClaimVolumeSource { return s.PersistentVolumeClaim }, validateClaim),
	source("rbd", func(s *volume) *corev1.RBDVolumeSource { return s.RBD }, validateRBD),
	source("cinder", func(s *volume) *corev1.CinderVolumeSource { return s.Cinder }, validateCinder),
	source("cephfs", func(s *volume) *corev1.CephFSVolumeSource { return s.CephFS }, validateCephFS).named("cephFS"),
	source("quobyte", func(s *volume) *corev1.QuobyteVolumeSource { return s.Quobyte }, validateQuobyte),
	source("downwardAPI", func(s *volume) *corev1.DownwardAPIVolumeSource { return s.DownwardAPI }, validateDownwardAPI).named("downwarAPI"),
	source("fc", func(s *volume) *corev1.FCVolumeSource { return s.FC }, validateFC),
	source("flexVolume", func(s *volume) *corev1.FlexVolumeSource { return s.FlexVolume }, validateFlexVolume),
	source("configMap", func(s *volume) *corev1.ConfigMapVolumeSource { return s.ConfigMap }, validateConfigMapVolume),
	source("azureFile", func(s *volume) *corev1.AzureFileVolumeSource { return s.AzureFile }, validateAzureFile),
	source("vsphereVolume", func(s *volume) *corev1.VsphereVirtualDiskVolumeSource { return s.VsphereVolume }, validateVsphere),
	source("photonPersistentDisk", func(s *volume) *corev1.PhotonPersistentDiskVolumeSource { return s.PhotonPersistentDisk }, validatePhoton),
	source("portworxVolume", func(s *volume) *corev1.PortworxVolumeSource { return s.PortworxVolume }, validatePortworx),
	source("azureDisk", func(s *volume) *corev1.AzureDiskVolumeSource { return s.AzureDisk }, validateAzureDisk),
	source("storageos", func(s *volume) *corev1.StorageOSVolumeSource { return s.StorageOS }, validateStorageOS),
	source("projected", func(s *volume) *corev1.ProjectedVolumeSource { return s.Projected }, validateProjected),
	source("scaleIO", func(s *volume) *corev1.ScaleIOVolumeSource { return s.ScaleIO }, validateScaleIO),
	source("csi", func(s *volume) *corev1.CSIVolumeSource { return s.CSI }, validateCSI),
	source("ephemeral", func(s *volume) *corev1.EphemeralVolumeSource { return s.Ephemeral }, validateEphemeral),
}

func validateVolumeSource(p *field.Path, v *corev1.Volume, pod string) field.ErrorList {
	var errs field.ErrorList
	found := false
	for i := range sourceRules {
		r := &sourceRules[i]
		if !r.present(&v.VolumeSource) {
			continue
		}
		if found {
			errs = append(errs, field.Forbidden(p.Child(r.name), "may not specify more than 1 volume type"))
			continue
		}
		found = true
		errs = append(errs, r.check(p.Child(r.path), &v.VolumeSource)...)
		if r.name == "ephemeral" && pod != "" && v.Name != "" {
			claim := pod + "-" + v.Name
			for _, msg := range rules.DNSSubdomain(claim) {
				errs = append(errs, field.Invalid(p.Child("name"), v.Name, fmt.Sprintf("PVC name %q: %v", claim, msg)))
			}
		}
	}
	if s := v.ISCSI; s != nil && s.InitiatorName != nil && len(v.Name)+1+len(s.TargetPortal) > 64 {
		errs = append(errs, field.Invalid(p.Child("name"), v.Name,
			"Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."))
	}
	if !found {
		errs = append(errs, field.Required(p, "must specify a volume type"))
	}
	return errs
}

func validateEmptyDir(p *field.Path, s *corev1.EmptyDirVolumeSource) field.ErrorList {
	if s.SizeLimit != nil && s.SizeLimit.Sign() < 0 {
		return field.ErrorList{field.Forbidden(p.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity")}
	}
	return nil
}

func validateHostPath(p *field.Path, s *corev1.HostPathVolumeSource) field.ErrorList {
	if s.Path == "" {
		return field.ErrorList{field.Required(p.Child("path"), "")}
	}
	errs := rules.NoBacksteps(p, s.Path, "path")
	if s.Type != nil {
		errs = append(errs, rules.Enum(p, "type", *s.Type, corev1.HostPathUnset, corev1.HostPathBlockDev, corev1.HostPathCharDev, corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate, corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)...)
	}
	return errs
}

func validateSecretVolume(p *field.Path, s *corev1.SecretVolumeSource) field.ErrorList {
	errs := rules.Required(p, s.SecretName, "secretName")
	errs = append(errs, fileMode(p, s.DefaultMode, "defaultMode")...)
	return append(errs, validateItems(p, s.Items, "items")...)
}

func validateConfigMapVolume(p *field.Path, s *corev1.ConfigMapVolumeSource) field.ErrorList {
	errs := rules.Required(p, s.Name, "name")
	errs = append(errs, fileMode(p, s.DefaultMode, "defaultMode")...)
	return append(errs, validateItems(p, s.Items, "items")...)
}

// fileMode requires that a child of p holds permission bits.
func fileMode(p *field.Path, mode *int32, child string) field.ErrorList {
	if mode == nil || 0 <= *mode && *mode <= 0777 {
		return nil
	}
	return field.ErrorList{field.Invalid(p.Child(child), *mode, "must be a number between 0 and 0777 (octal), both inclusive")}
}

// validateItems checks the list of keys and paths at a child of p.
func validateItems(p *field.Path, items []corev1.KeyToPath, child ...string) field.ErrorList {
	var errs field.ErrorList
	for i := range items {
		k := &items[i]
		if k.Key != "" && k.Path != "" && k.Mode == nil && !strings.Contains(k.Path, "..") && k.Path[0] != '/' {
			continue
		}
		kp := p.Child(child[0], child[1:]...).Index(i)
		errs = append(errs, rules.Required(kp, k.Key, "key")...)
		errs = append(errs, rules.Required(kp, k.Path, "path")...)
		errs = append(errs, unreserved(kp, k.Path, "path")...)
		errs = append(errs, fileMode(kp, k.Mode, "mode")...)
	}
	return errs
}

// unreserved requires of a child of p a relative path that neither leaves its root nor starts with "..", which volumes
// keep for themselves.
func unreserved(p *field.Path, path, child string) field.ErrorList {
	errs := rules.Descending(p, path, child)
	if strings.HasPrefix(path, "..") && !strings.HasPrefix(path, "../") {
		errs = append(errs, field.Invalid(p.Child(child), path, "must not start with '..'"))
	}
	return errs
}

func validateDownwardAPI(p *field.Path, s *corev1.DownwardAPIVolumeSource) field.ErrorList {
	errs := fileMode(p, s.DefaultMode, "defaultMode")
	for i := range s.Items {
		// Upstream's paths leave out which of the items it is.
		errs = append(errs, validateDownwardAPIFile(p, &s.Items[i])...)
	}
	return errs
}

func validateDownwardAPIFile(p *field.Path, f *corev1.DownwardAPIVolumeFile) field.ErrorList {
	errs := rules.Required(p, f.Path, "path")
	errs = append(errs, unreserved(p, f.Path, "path")...)
	switch {
	case f.FieldRef != nil:
		errs = append(errs, validateFieldRef(p.Child("fieldRef"), f.FieldRef, volumeFields)...)
		if f.ResourceFieldRef != nil {
			errs = append(errs, field.Invalid(p, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		}
	case f.ResourceFieldRef != nil:
		errs = append(errs, validateResourceFieldRef(p.Child("resourceFieldRef"), f.ResourceFieldRef, true)...)
	default:
		errs = append(errs, field.Required(p, "one of fieldRef and resourceFieldRef is required"))
	}
	return append(errs, fileMode(p, f.Mode, "mode")...)
}

func validateProjected(p *field.Path, s *corev1.ProjectedVolumeSource) field.ErrorList {
	errs := fileMode(p, s.DefaultMode, "defaultMode")
	paths := map[string]bool{}
	// claim notes a file's path, which no other source of the volume may use; owner is what an error shows.
	claim := func(file, owner string) {
		if file == "" {
			return
		}
		if paths[file] {
			errs = append(errs, field.Invalid(p, owner, "conflicting duplicate paths"))
		}
		paths[file] = true
	}
	for i := range s.Sources {
		src, sp, n := &s.Sources[i], p.Child("sources").Index(i), 0
		if c := src.Secret; c != nil {
			n++
			errs = append(errs, rules.Required(sp, c.Name, "secret", "name")...)
			errs = append(errs, validateItems(sp, c.Items, "secret", "items")...)
			for _, k := range c.Items {
				claim(k.Path, c.Name)
			}
		}
		if c := src.ConfigMap; c != nil {
			n++
			errs = append(errs, rules.Required(sp, c.Name, "configMap", "name")...)
			errs = append(errs, validateItems(sp, c.Items, "configMap", "items")...)
			for _, k := range c.Items {
				claim(k.Path, c.Name)
			}
		}
		if c := src.DownwardAPI; c != nil {
			n++
			for j := range c.Items {
				errs = append(errs, validateDownwardAPIFile(sp.Child("downwardAPI"), &c.Items[j])...)
				claim(c.Items[j].Path, c.Items[j].Path)
			}
		}
		if c := src.ServiceAccountToken; c != nil {
			n++
			errs = append(errs, validateTokenProjection(p, sp.Child("serviceAccountToken"), c)...)
		}
		if n > 1 {
			errs = append(errs, field.Forbidden(sp, "may not specify more than 1 volume type per source"))
		}
	}
	return errs
}

// validateTokenProjection checks a projected token at tp in the volume at p, where upstream places errors of its path.
func validateTokenProjection(p, tp *field.Path, t *corev1.ServiceAccountTokenProjection) field.ErrorList {
	var errs field.ErrorList
	if n := deref(t.ExpirationSeconds); n < 10*60 {
		errs = append(errs, field.Invalid(tp.Child("expirationSeconds"), n, "may not specify a duration less than 10 minutes"))
	} else if n > 1<<32 {
		errs = append(errs, field.Invalid(tp.Child("expirationSeconds"), n, "may not specify a duration larger than 2^32 seconds"))
	}
	if t.Path == "" {
		return append(errs, field.Required(p.Child("path"), ""))
	}
	return append(errs, unreserved(p, t.Path, "path")...)
}

func validateCSI(p *field.Path, s *corev1.CSIVolumeSource) field.ErrorList {
	dp := p.Child("driver")
	errs := rules.Required(dp, s.Driver)
	if len(s.Driver) > 63 {
		errs = append(errs, field.TooLong(dp, "", 63))
	}
	errs = append(errs, rules.Invalid(dp, s.Driver, rules.DNSSubdomain(strings.ToLower(s.Driver)))...)
	if r := s.NodePublishSecretRef; r != nil {
		if r.Name == "" {
			errs = append(errs, field.Required(p.Child("nodePublishSecretRef", "name"), ""))
		} else {
			errs = append(errs, rules.Invalid(p, r.Name, rules.DNSSubdomain(r.Name), "name")...)
		}
	}
	return errs
}

func validateClaim(p *field.Path, s *corev1.PersistentVolumeClaimVolumeSource) field.ErrorList {
	return rules.Required(p, s.ClaimName, "claimName")
}

func validateNFS(p *field.Path, s *corev1.NFSVolumeSource) field.ErrorList {
	errs := rules.Required(p, s.Server, "server")
	errs = append(errs, rules.Required(p, s.Path, "path")...)
	if !path.IsAbs(s.Path) {
		errs = append(errs, field.Invalid(p.Child("path"), s.Path, "must be an absolute path"))
	}
	return errs
}

func validateEphemeral(p *field.Path, s *corev1.EphemeralVolumeSource) field.ErrorList {
	p = p.Child("volumeClaimTemplate")
	t := s.VolumeClaimTemplate
	if t == nil {
		return field.ErrorList{field.Required(p, "")}
	}
	mp := p.Child("metadata")
	errs := apivalidation.ValidateAnnotations(t.Annotations, mp.Child("annotations"))
	errs = append(errs, rules.Labels(mp.Child("labels"), t.Labels)...)
	errs = append(errs, onlyLabelsAndAnnotations(mp, &t.ObjectMeta)...)
	return append(errs, validateClaimSpec(p.Child("spec"), &t.Spec)...)
}

// onlyLabelsAndAnnotations refuses every other field of a template's metadata, empty lists too. The names are upstream's,
// which makes them of Go's.
func onlyLabelsAndAnnotations(p *field.Path, m *metav1.ObjectMeta) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"name", m.Name != ""}, {"generateName", m.GenerateName != ""}, {"namespace", m.Namespace != ""}, {"selfLink", m.SelfLink != ""},
		{"uID", m.UID != ""}, {"resourceVersion", m.ResourceVersion != ""}, {"generation", m.Generation != 0},
		{"creationTimestamp", !m.CreationTimestamp.IsZero()}, {"deletionTimestamp", m.DeletionTimestamp != nil},
		{"deletionGracePeriodSeconds", m.DeletionGracePeriodSeconds != nil}, {"ownerReferences", m.OwnerReferences != nil},
		{"finalizers", m.Finalizers != nil}, {"managedFields", m.ManagedFields != nil},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(p.Child(f.name), "cannot be set"))
		}
	}
	return errs
}
