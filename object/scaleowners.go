package object

import "pintle.dev/api"

// scaleVersion is the version in which owners of a Scale speak, scaleReplicas the field that stands for the parent's.
const scaleVersion = "autoscaling/v1"

var scaleReplicas = FieldPaths("spec.replicas")

// ScaleOwners are the owners of an object's Scale: those of the field that the dotted path names ("spec.replicas").
func ScaleOwners(owners api.Owners, path string) api.Owners {
	at := FieldPaths(path)
	var scale api.Owners
	for _, o := range owners {
		if f, err := readFields(o.Fields); err == nil && f.Contains(at) {
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
// Scale's replicas loses the field at path, who came to own them gets an entry for it in the given version. As on
// upstream that entry has no time, and who updated the field before is told by it even if nobody took the field over:
// upstream knows an updater by the version too, which is the Scale's here. So one updater may have two entries, until
// LastEntries reads them.
func OwnersAfterScale(owners, scale api.Owners, path, version string) api.Owners {
	at := FieldPaths(path)
	var out api.Owners
	kept := make([]bool, len(scale))
	for _, o := range owners {
		f, err := readFields(o.Fields)
		if err != nil || !f.Contains(at) {
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
