package object

import "pintle.dev/api"

// scaleVersion is the version in which owners of a Scale speak, scaleReplicas the field that stands for the parent's.
const scaleVersion = "autoscaling/v1"

var scaleReplicas = FieldPaths("spec.replicas")

// ReplicasPath is the dotted path ("spec.replicas") of what a Scale sets in one of the kind's versions, which may differ in
// it: "" in a version without a scale subresource. It is not known of what is no version of the kind.
type ReplicasPath func(version string) (path string, known bool)

// in is the path as a set, and whether an owner has it.
func (p ReplicasPath) in(o api.Owner) (at, fields Fields, has bool) {
	path, _ := p(o.APIVersion)
	if path == "" {
		return at, fields, false
	}
	fields, err := readFields(o.Fields)
	at = FieldPaths(path)
	return at, fields, err == nil && fields.Contains(at)
}

// ScaleOwners are the owners of an object's Scale: those of the field that it stands for.
func ScaleOwners(owners api.Owners, path ReplicasPath) api.Owners {
	var scale api.Owners
	for _, o := range owners {
		if _, _, has := path.in(o); has {
			o.APIVersion, o.Fields = scaleVersion, scaleReplicas.String()
			scale = append(scale, o)
		}
	}
	return scale
}

// TakenScale are the owners of a Scale whose replicas somebody changed by an update through the subresource.
func TakenScale(manager, subresource string) api.Owners {
	by := writer(api.Owner{Manager: manager, Subresource: subresource})
	by.Operation, by.APIVersion, by.Fields = opUpdate, scaleVersion, scaleReplicas.String()
	return api.Owners{by}
}

// OwnersAfterScale are the owners of an object whose Scale, which had ScaleOwners, is owned by scale now: who lost the
// Scale's replicas loses the field at path, who came to own them gets an entry for it in the given version. Owners in what
// is no version of the kind are forgotten. As on
// upstream that entry has no time, and who updated the field before is told by it even if nobody took the field over:
// upstream knows an updater by the version too, which is the Scale's here. So one updater may have two entries, until
// LastEntries reads them.
func OwnersAfterScale(owners, scale api.Owners, path ReplicasPath, version string) api.Owners {
	var out api.Owners
	kept := make([]bool, len(scale))
	for _, o := range owners {
		if _, known := path(o.APIVersion); !known {
			continue
		}
		at, f, has := path.in(o)
		if !has {
			out = append(out, o)
			continue
		}
		keeps := false
		for i, s := range scale {
			if o.Operation == opApply && s.Operation == opApply && s.Manager == o.Manager && s.Subresource == o.Subresource && ownsReplicas(s) {
				keeps, kept[i] = true, true
			}
		}
		if !keeps {
			if f = f.Difference(at); f.Empty() {
				continue
			}
			o.Fields = f.String()
		}
		out = append(out, o)
	}
	here, _ := path(version)
	at := FieldPaths(here)
	for i, s := range scale {
		if !kept[i] && ownsReplicas(s) {
			s.APIVersion, s.Fields, s.Time = version, at.String(), 0
			out = append(out, s)
		}
	}
	sortOwners(out)
	return out
}

func ownsReplicas(o api.Owner) bool {
	f, err := readFields(o.Fields)
	return err == nil && f.Contains(scaleReplicas)
}
