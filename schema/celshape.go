package schema

import (
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiserver/pkg/cel/common"
)

// celShape is a schema as CEL's values want it, with all below it made once.
type celShape struct {
	*model.Structural
	resource   bool                     // which has apiVersion, kind and metadata, whether or not the schema declares them
	properties map[string]common.Schema // *celShape
	items      *celShape
	additional *celAdditional
}

type celAdditional struct {
	schema *celShape // nil for a boolean
	allows bool
}

// newResourceShape is the shape of a whole resource.
func newResourceShape(s *structuralschema.Structural) *celShape {
	c := newCELShape(model.WithTypeAndObjectMeta(s))
	c.resource = true
	return c
}

func newCELShape(s *structuralschema.Structural) *celShape {
	resource := s.XEmbeddedResource
	if resource {
		s = model.WithTypeAndObjectMeta(s)
	}
	c := &celShape{Structural: &model.Structural{Structural: s}, resource: resource}
	if s.Properties != nil {
		c.properties = make(map[string]common.Schema, len(s.Properties))
		for name := range s.Properties {
			p := s.Properties[name]
			c.properties[name] = newCELShape(&p)
		}
	}
	if s.Items != nil {
		c.items = newCELShape(s.Items)
	}
	if a := s.AdditionalProperties; a != nil {
		c.additional = &celAdditional{allows: a.Bool}
		if a.Structural != nil {
			c.additional.schema = newCELShape(a.Structural)
		}
	}
	return c
}

// Properties implements common.Schema.
func (c *celShape) Properties() map[string]common.Schema { return c.properties }

// Items implements common.Schema.
func (c *celShape) Items() common.Schema {
	if c.items == nil {
		return nil
	}
	return c.items
}

// AdditionalProperties implements common.Schema.
func (c *celShape) AdditionalProperties() common.SchemaOrBool {
	if c.additional == nil {
		return nil
	}
	return c.additional
}

// WithTypeAndObjectMeta implements common.Schema: an embedded resource has them from the start.
func (c *celShape) WithTypeAndObjectMeta() common.Schema { return c }

// Schema implements common.SchemaOrBool.
func (a *celAdditional) Schema() common.Schema {
	if a.schema == nil {
		return nil
	}
	return a.schema
}

// Allows implements common.SchemaOrBool.
func (a *celAdditional) Allows() bool { return a.allows }
