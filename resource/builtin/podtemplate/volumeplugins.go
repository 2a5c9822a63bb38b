package podtemplate

import (
	"net"
	"regexp"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// The sources of this file are provided by plugins, most of which upstream has removed; their fields are still checked.

func validateGitRepo(p *field.Path, s *corev1.GitRepoVolumeSource) field.ErrorList {
	errs := rules.Required(p, s.Repository, "repository")
	return append(errs, rules.Descending(p, s.Directory, "directory")...)
}

func validateGCEDisk(p *field.Path, s *corev1.GCEPersistentDiskVolumeSource) field.ErrorList {
	return append(rules.Required(p, s.PDName, "pdName"), diskPartition(p, s.Partition)...)
}

func validateAWSDisk(p *field.Path, s *corev1.AWSElasticBlockStoreVolumeSource) field.ErrorList {
	return append(rules.Required(p, s.VolumeID, "volumeID"), diskPartition(p, s.Partition)...)
}

// diskPartition requires the number of a partition, or 0 for the whole disk, of which upstream's complaint does not tell.
func diskPartition(p *field.Path, n int32) field.ErrorList {
	if n == 0 {
		return nil
	}
	return rules.Range(p, int64(n), 1, 255, "partition")
}

// iscsiNames are the patterns of the three kinds of iSCSI names, by their prefix.
var iscsiNames = sync.OnceValue(func() map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{
		"iqn": regexp.MustCompile(`iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$`),
		"eui": regexp.MustCompile(`^eui.[[:alnum:]]{16}$`),
		"naa": regexp.MustCompile(`^naa.[[:alnum:]]{32}$`),
	}
})

func iscsiName(p *field.Path, s string) field.ErrorList {
	pattern, ok := iscsiNames()[s[:min(3, len(s))]]
	switch {
	case !ok:
		return field.ErrorList{field.Invalid(p, s, "must be valid format starting with iqn, eui, or naa")}
	case !pattern.MatchString(s):
		return field.ErrorList{field.Invalid(p, s, "must be valid format")}
	}
	return nil
}

func validateISCSI(p *field.Path, s *corev1.ISCSIVolumeSource) field.ErrorList {
	errs := rules.Required(p, s.TargetPortal, "targetPortal")
	if s.IQN == "" {
		errs = append(errs, field.Required(p.Child("iqn"), ""))
	} else {
		errs = append(errs, iscsiName(p.Child("iqn"), s.IQN)...)
	}
	errs = append(errs, rules.Range(p, int64(s.Lun), 0, 255, "lun")...)
	if (s.DiscoveryCHAPAuth || s.SessionCHAPAuth) && s.SecretRef == nil {
		errs = append(errs, field.Required(p.Child("secretRef"), ""))
	}
	if s.InitiatorName != nil {
		errs = append(errs, iscsiName(p.Child("initiatorname"), *s.InitiatorName)...)
	}
	return errs
}

func validateFC(p *field.Path, s *corev1.FCVolumeSource) field.ErrorList {
	var errs field.ErrorList
	wwns := p.Child("targetWWNs")
	if len(s.TargetWWNs) == 0 && len(s.WWIDs) == 0 {
		errs = append(errs, field.Required(wwns, "must specify either targetWWNs or wwids, but not both"))
	}
	if len(s.TargetWWNs) != 0 && len(s.WWIDs) != 0 {
		errs = append(errs, field.Invalid(wwns, s.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously"))
	}
	if len(s.TargetWWNs) == 0 {
		return errs
	}
	if s.Lun == nil {
		return append(errs, field.Required(p.Child("lun"), "lun is required if targetWWNs is specified"))
	}
	return append(errs, rules.Range(p, int64(*s.Lun), 0, 255, "lun")...)
}

func validateQuobyte(p *field.Path, s *corev1.QuobyteVolumeSource) field.ErrorList {
	const registry = "must be a host:port pair or multiple pairs separated by commas"
	var errs field.ErrorList
	switch {
	case s.Registry == "":
		errs = append(errs, field.Required(p.Child("registry"), registry))
	case len(s.Tenant) >= 65:
		errs = append(errs, field.Required(p.Child("tenant"), "must be a UUID and may not exceed a length of 64 characters"))
	default:
		for pair := range strings.SplitSeq(s.Registry, ",") {
			if _, _, err := net.SplitHostPort(pair); err != nil {
				errs = append(errs, field.Invalid(p.Child("registry"), s.Registry, registry))
			}
		}
	}
	return append(errs, rules.Required(p, s.Volume, "volume")...)
}

func validateGlusterfs(p *field.Path, s *corev1.GlusterfsVolumeSource) field.ErrorList {
	return append(rules.Required(p, s.EndpointsName, "endpoints"), rules.Required(p, s.Path, "path")...)
}

func validateFlocker(p *field.Path, s *corev1.FlockerVolumeSource) field.ErrorList {
	var errs field.ErrorList
	if s.DatasetName == "" && s.DatasetUUID == "" {
		errs = append(errs, field.Required(p, "one of datasetName and datasetUUID is required"))
	}
	if s.DatasetName != "" && s.DatasetUUID != "" {
		errs = append(errs, field.Invalid(p, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
	}
	if strings.Contains(s.DatasetName, "/") {
		errs = append(errs, field.Invalid(p.Child("datasetName"), s.DatasetName, "must not contain '/'"))
	}
	return errs
}

func validateRBD(p *field.Path, s *corev1.RBDVolumeSource) field.ErrorList {
	var errs field.ErrorList
	if len(s.CephMonitors) == 0 {
		errs = append(errs, field.Required(p.Child("monitors"), ""))
	}
	return append(errs, rules.Required(p, s.RBDImage, "image")...)
}

func validateCinder(p *field.Path, s *corev1.CinderVolumeSource) field.ErrorList {
	return append(rules.Required(p, s.VolumeID, "volumeID"), secretRef(p, s.SecretRef)...)
}

func secretRef(p *field.Path, r *corev1.LocalObjectReference) field.ErrorList {
	if r == nil {
		return nil
	}
	return rules.Required(p, r.Name, "secretRef", "name")
}

func validateCephFS(p *field.Path, s *corev1.CephFSVolumeSource) field.ErrorList {
	if len(s.Monitors) == 0 {
		return field.ErrorList{field.Required(p.Child("monitors"), "")}
	}
	return nil
}

func validateFlexVolume(p *field.Path, s *corev1.FlexVolumeSource) field.ErrorList {
	errs := rules.Required(p, s.Driver, "driver")
	for k := range s.Options {
		domain, _, _ := strings.Cut(k, "/")
		domain = "." + strings.ToLower(domain)
		if strings.HasSuffix(domain, ".kubernetes.io") || strings.HasSuffix(domain, ".k8s.io") {
			errs = append(errs, field.Invalid(p.Child("options").Key(k), k, "kubernetes.io and k8s.io namespaces are reserved"))
		}
	}
	return errs
}

func validateAzureFile(p *field.Path, s *corev1.AzureFileVolumeSource) field.ErrorList {
	return append(rules.Required(p, s.SecretName, "secretName"), rules.Required(p, s.ShareName, "shareName")...)
}

func validateAzureDisk(p *field.Path, s *corev1.AzureDiskVolumeSource) field.ErrorList {
	errs := rules.Required(p, s.DiskName, "diskName")
	errs = append(errs, rules.Required(p, s.DataDiskURI, "diskURI")...)
	if s.CachingMode != nil {
		errs = append(errs, rules.Enum(p, "cachingMode", *s.CachingMode, corev1.AzureDataDiskCachingNone, corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite)...)
	}
	if s.Kind == nil {
		return errs
	}
	errs = append(errs, rules.Enum(p, "kind", *s.Kind, corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk, corev1.AzureSharedBlobDisk)...)
	prefix, form := "https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
	if *s.Kind == corev1.AzureManagedDisk {
		prefix, form = "/subscriptions/", "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
	}
	if !strings.HasPrefix(s.DataDiskURI, prefix) {
		errs = append(errs, field.NotSupported(p.Child("diskURI"), s.DataDiskURI, []string{form}))
	}
	return errs
}

func validateVsphere(p *field.Path, s *corev1.VsphereVirtualDiskVolumeSource) field.ErrorList {
	return rules.Required(p, s.VolumePath, "volumePath")
}

func validatePhoton(p *field.Path, s *corev1.PhotonPersistentDiskVolumeSource) field.ErrorList {
	return rules.Required(p, s.PdID, "pdID")
}

func validatePortworx(p *field.Path, s *corev1.PortworxVolumeSource) field.ErrorList {
	return rules.Required(p, s.VolumeID, "volumeID")
}

func validateScaleIO(p *field.Path, s *corev1.ScaleIOVolumeSource) field.ErrorList {
	errs := rules.Required(p, s.Gateway, "gateway")
	errs = append(errs, rules.Required(p, s.System, "system")...)
	return append(errs, rules.Required(p, s.VolumeName, "volumeName")...)
}

func validateStorageOS(p *field.Path, s *corev1.StorageOSVolumeSource) field.ErrorList {
	var errs field.ErrorList
	if s.VolumeName == "" {
		errs = append(errs, field.Required(p.Child("volumeName"), ""))
	} else {
		errs = append(errs, rules.Invalid(p, s.VolumeName, rules.DNSLabel(s.VolumeName), "volumeName")...)
	}
	if s.VolumeNamespace != "" {
		errs = append(errs, rules.Invalid(p, s.VolumeNamespace, rules.DNSLabel(s.VolumeNamespace), "volumeNamespace")...)
	}
	return append(errs, secretRef(p, s.SecretRef)...)
}

// validateClaimSpec checks the spec of the claim an ephemeral volume makes.
func validateClaimSpec(p *field.Path, s *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	var errs field.ErrorList
	modes := p.Child("accessModes")
	if len(s.AccessModes) == 0 {
		errs = append(errs, field.Required(modes, "at least 1 access mode is required"))
	}
	if s.Selector != nil {
		errs = append(errs, rules.Selector(p.Child("selector"), s.Selector)...)
	}
	alone, shared := false, false
	for _, m := range s.AccessModes {
		bad := rules.Enum(modes, "", m, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)
		errs = append(errs, bad...)
		alone = alone || m == corev1.ReadWriteOncePod
		shared = shared || m != corev1.ReadWriteOncePod && bad == nil
	}
	if alone && shared {
		errs = append(errs, field.Forbidden(modes, "may not use ReadWriteOncePod with other access modes"))
	}
	storage := p.Child("resources").Key(string(corev1.ResourceStorage))
	if size, ok := s.Resources.Requests[corev1.ResourceStorage]; !ok {
		errs = append(errs, field.Required(storage, ""))
	} else if size.Sign() <= 0 {
		errs = append(errs, field.Invalid(storage, size.String(), "must be greater than zero"))
	}
	if c := deref(s.StorageClassName); c != "" {
		errs = append(errs, rules.Invalid(p, c, rules.DNSSubdomain(c), "storageClassName")...)
	}
	if s.VolumeMode != nil {
		errs = append(errs, rules.Enum(p, "volumeMode", *s.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	}
	if s.DataSource != nil {
		errs = append(errs, validateDataSource(p.Child("dataSource"), deref(s.DataSource.APIGroup), s.DataSource.Kind, s.DataSource.Name)...)
	}
	if s.DataSourceRef != nil {
		errs = append(errs, validateDataSourceRef(p, s)...)
	}
	if c := deref(s.VolumeAttributesClassName); c != "" {
		errs = append(errs, rules.Invalid(p, c, rules.DNSSubdomain(c), "volumeAttributesClassName")...)
	}
	return errs
}

// validateDataSourceRef checks the dataSourceRef of the claim at p, and that a dataSource beside it says the same.
func validateDataSourceRef(p *field.Path, s *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	r, rp := s.DataSourceRef, p.Child("dataSourceRef")
	errs := validateDataSource(rp, deref(r.APIGroup), r.Kind, r.Name)
	ns := deref(r.Namespace)
	if ns != "" {
		errs = append(errs, rules.Invalid(rp, ns, rules.DNSLabel(ns), "namespace")...)
	}
	switch d := s.DataSource; {
	case d == nil:
	case ns != "":
		errs = append(errs, field.Invalid(p, p.Child("dataSource"), "may not be specified when dataSourceRef.namespace is specified"))
	case !equality.Semantic.DeepEqual(d.APIGroup, r.APIGroup) || d.Kind != r.Kind || d.Name != r.Name:
		errs = append(errs, field.Invalid(p, p.Child("dataSource"), "must match dataSourceRef"))
	}
	return errs
}

func validateDataSource(p *field.Path, group, kind, name string) field.ErrorList {
	errs := rules.Required(p, name, "name")
	errs = append(errs, rules.Required(p, kind, "kind")...)
	if group == "" && kind != "PersistentVolumeClaim" {
		errs = append(errs, field.Invalid(p, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
	}
	if group != "" {
		errs = append(errs, rules.Invalid(p, group, validation.IsDNS1123Subdomain(group), "apiGroup")...)
	}
	return errs
}
