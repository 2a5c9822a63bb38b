package podtemplate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

func mountName(m *corev1.VolumeMount) string   { return m.Name }
func mountPath(m *corev1.VolumeMount) string   { return m.MountPath }
func deviceName(d *corev1.VolumeDevice) string { return d.Name }
func devicePath(d *corev1.VolumeDevice) string { return d.DevicePath }

func (x *containerContext) mounts(p *field.Path, c *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	repeats := rules.Repeats(c.VolumeMounts, mountPath)
	deviceNamed, deviceAt := rules.Holds(c.VolumeDevices, deviceName), rules.Holds(c.VolumeDevices, devicePath)
	for i := range c.VolumeMounts {
		m, mp := &c.VolumeMounts[i], p.Index(i)
		errs = append(errs, rules.Required(mp, m.Name, "name")...)
		if _, ok := x.volumes[m.Name]; !ok {
			errs = append(errs, field.NotFound(mp.Child("name"), m.Name))
		}
		errs = append(errs, rules.Required(mp, m.MountPath, "mountPath")...)
		if repeats(i) {
			errs = append(errs, field.Invalid(mp.Child("mountPath"), m.MountPath, "must be unique"))
		}
		if deviceNamed(m.Name) {
			errs = append(errs, field.Invalid(mp.Child("name"), m.Name, "must not already exist in volumeDevices"))
		}
		if deviceAt(m.MountPath) {
			errs = append(errs, field.Invalid(mp.Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices"))
		}
		// The rules below have the list's path, as upstream has it, and not the mount's.
		if m.SubPath != "" {
			errs = append(errs, rules.Descending(p, m.SubPath, "subPath")...)
		}
		if m.SubPathExpr != "" {
			if m.SubPath != "" {
				errs = append(errs, field.Invalid(mp.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
			}
			errs = append(errs, rules.Descending(p, m.SubPathExpr, "subPathExpr")...)
		}
		if m.MountPropagation != nil {
			errs = append(errs, validatePropagation(p.Child("mountPropagation"), m, c)...)
		}
		if m.RecursiveReadOnly != nil {
			errs = append(errs, validateRecursiveReadOnly(p.Child("recursiveReadOnly"), m)...)
		}
	}
	return errs
}

func validatePropagation(p *field.Path, m *corev1.VolumeMount, c *corev1.Container) field.ErrorList {
	errs := rules.Enum(p, "", *m.MountPropagation, corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
	privileged := c.SecurityContext != nil && deref(c.SecurityContext.Privileged)
	if *m.MountPropagation == corev1.MountPropagationBidirectional && !privileged {
		errs = append(errs, field.Forbidden(p, "Bidirectional mount propagation is available only to privileged containers"))
	}
	return errs
}

func validateRecursiveReadOnly(p *field.Path, m *corev1.VolumeMount) field.ErrorList {
	errs := rules.Enum(p, "", *m.RecursiveReadOnly, corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)
	if errs != nil || *m.RecursiveReadOnly == corev1.RecursiveReadOnlyDisabled {
		return errs
	}
	if !m.ReadOnly {
		errs = append(errs, field.Forbidden(p, "may only be specified when readOnly is true"))
	}
	if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationNone {
		errs = append(errs, field.Forbidden(p, "may only be specified when mountPropagation is None or not specified"))
	}
	return errs
}

func (x *containerContext) devices(p *field.Path, c *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	names, paths := map[string]bool{}, map[string]bool{}
	mountNamed, mountAt := rules.Holds(c.VolumeMounts, mountName), rules.Holds(c.VolumeMounts, mountPath)
	for i := range c.VolumeDevices {
		d, dp := &c.VolumeDevices[i], p.Index(i)
		np, pp := dp.Child("name"), dp.Child("devicePath")
		found, claim := x.volumes.claimBacked(d.Name)
		errs = append(errs, rules.Required(np, d.Name)...)
		if names[d.Name] {
			errs = append(errs, field.Invalid(np, d.Name, "must be unique"))
		}
		if found && !claim {
			errs = append(errs, field.Invalid(np, d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
		}
		if !found {
			errs = append(errs, field.NotFound(np, d.Name))
		}
		errs = append(errs, rules.Required(pp, d.DevicePath)...)
		if paths[d.DevicePath] {
			errs = append(errs, field.Invalid(pp, d.DevicePath, "must be unique"))
		}
		if rules.HasBackstep(d.DevicePath) {
			errs = append(errs, field.Invalid(pp, d.DevicePath, "can not contain backsteps ('..')"))
		} else {
			paths[d.DevicePath] = true
		}
		if mountNamed(d.Name) {
			errs = append(errs, field.Invalid(np, d.Name, "must not already exist in volumeMounts"))
		}
		if mountAt(d.DevicePath) {
			errs = append(errs, field.Invalid(pp, d.DevicePath, "must not already exist as a path in volumeMounts"))
		}
		if d.Name != "" {
			names[d.Name] = true
		}
	}
	return errs
}
