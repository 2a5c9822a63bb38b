package schema

import "pintle.dev/object"

// Admits reports that a document certainly has only members that the schema declares, with values of their types, as
// structured-merge-diff checks it of what is applied. When it says no, the document may still be fine.
func (s *Schema) Admits(v *object.Value) bool {
	m := v.Get("metadata")
	return (m == nil || admitsMetadata(m)) && s.admits(v, false)
}

// AdmitsBesides is Admits of all but the document's own metadata.
func (s *Schema) AdmitsBesides(v *object.Value) bool { return s.admits(v, false) }

func (s *Schema) admits(v *object.Value, preserved bool) bool {
	if v.Kind() == object.Null {
		return true
	}
	switch s.types {
	case 0:
		return v.Kind() != object.Map || s.admitsMembers(v, preserved)
	case typeObject:
		return v.Kind() == object.Map && s.admitsMembers(v, preserved)
	case typeArray:
		if v.Kind() != object.List || s.items == nil {
			return false
		}
		preserved = preserved || s.is(preserving)
		for _, item := range v.Items() {
			if !s.items.admits(item, preserved) {
				return false
			}
		}
		return true
	case typeString:
		return v.Kind() == object.String
	case typeBoolean:
		return v.Kind() == object.Bool
	case typeInteger, typeNumber:
		return v.Kind() == object.Number
	case typeInteger | typeString:
		return v.Kind() == object.Number || v.Kind() == object.String
	}
	return false
}

// admitsMembers checks the members of a map. preserved says that a schema above lets members be that are not declared.
func (s *Schema) admitsMembers(v *object.Value, preserved bool) bool {
	preserved = preserved || s.is(preserving)
	whole := s.origin != nil || s.is(embedded)
	for name, m := range v.Fields() {
		switch {
		case whole && (name == "apiVersion" || name == "kind"):
			if m.Kind() != object.String {
				return false
			}
		case whole && name == "metadata":
			if s.origin == nil && !admitsMetadata(m) {
				return false
			}
		case s.property(name) != nil:
			if !s.property(name).admits(m, preserved) {
				return false
			}
		case s.additional != nil:
			if !s.additional.admits(m, preserved) {
				return false
			}
		case s.is(additional):
			if s.is(closed) {
				return false
			}
		case !preserved && (whole || len(s.properties) > 0):
			return false
		}
	}
	return true
}

// admitsMetadata knows the members of metadata that are written usually.
func admitsMetadata(m *object.Value) bool {
	if m.Kind() != object.Map {
		return false
	}
	for name, v := range m.Fields() {
		switch name {
		case "name", "namespace", "generateName", "uid", "resourceVersion":
			if v.Kind() != object.String {
				return false
			}
		case "creationTimestamp":
			if v.Kind() != object.String && v.Kind() != object.Null {
				return false
			}
		case "labels", "annotations":
			if v.Kind() != object.Map {
				return false
			}
			for _, text := range v.Fields() {
				if text.Kind() != object.String {
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}
