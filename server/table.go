package server

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// parseInclude reads the query of a Table request: what each row carries beside its cells.
func parseInclude(q url.Values) (metav1.IncludeObjectPolicy, error) {
	include := metav1.IncludeObjectPolicy(q.Get("includeObject"))
	switch include {
	case "":
		return metav1.IncludeMetadata, nil
	case metav1.IncludeNone, metav1.IncludeMetadata, metav1.IncludeObject:
		return include, nil
	}
	err := field.Invalid(field.NewPath("includeObject"), include, "must be 'Metadata', 'Object', 'None', or empty")
	return "", api.BadRequest("Unable to convert to Table as requested: %v", err)
}

// appendTable appends a page of objects, or one object by itself, as a Table; with out, what fills a chunk is sent on the
// way. Rows go straight to the output; an object is decoded only when its kind has columns to compute.
func (s *Server) appendTable(dst []byte, q *request, f form, l *api.RecordList, out *body) ([]byte, error) {
	dst = appendTableHead(dst, q, f, l, true)
	var err error
	ahead := 0
	for i, rec := range l.Records {
		if i > 0 {
			dst = append(dst, ',')
		}
		if ahead, err = s.aheadOf(q, l.Records, i, ahead); err != nil {
			return dst, err
		}
		if dst, err = s.appendRow(dst, q, f, rec, rec.Revision()); err == nil {
			dst, err = out.pass(dst)
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, "]}"...), nil
}

// appendTableEvent appends the object of a watch event as a Table of one row. Only the first of a watch has the columns.
func (s *Server) appendTableEvent(dst []byte, q *request, f form, e *api.Event, columns bool) ([]byte, error) {
	dst = appendTableHead(dst, q, f, &api.RecordList{Revision: e.Revision}, columns)
	dst, err := s.appendRow(dst, q, f, e.Record(), e.Revision)
	return append(dst, "]}"...), err
}

func appendTableHead(dst []byte, q *request, f form, l *api.RecordList, columns bool) []byte {
	dst = append(append(append(dst, `{"kind":"Table","apiVersion":"meta.k8s.io/`...), f.version...), `","metadata":`...)
	if l.Revision == 0 { // of an object that has not been stored
		dst = append(dst, "{}"...)
	} else {
		dst = appendListMeta(dst, l, false)
	}
	dst = append(dst, `,"columnDefinitions":`...)
	if columns {
		dst = appendColumns(dst, tableColumns(q.d, q.v))
	} else {
		dst = append(dst, "null"...)
	}
	return append(dst, `,"rows":[`...)
}

// appendRow appends an object's row, showing revision rev: its own, or that of its deletion.
func (s *Server) appendRow(dst []byte, q *request, f form, rec *api.Record, rev api.Revision) ([]byte, error) {
	dst, err := s.appendCells(dst, q.d, q.v, rec)
	if err != nil {
		return dst, fmt.Errorf("showing %s %s as a Table: %w", q.d.Resource, rec.Key(), err)
	}
	dst = append(dst, `,"object":`...)
	switch f.include {
	case metav1.IncludeNone:
		dst = append(dst, "null"...)
	case metav1.IncludeObject:
		dst, err = s.appendObject(dst, q.d, q.v, rec, rev, false)
	default:
		dst, err = s.appendPartial(dst, q, f, rec, rev)
	}
	return append(dst, '}'), err
}

// defaultColumns are those of kinds that define none, as upstream has it.
var defaultColumns = []metav1.TableColumnDefinition{
	resource.NameColumn,
	{Name: "Created At", Type: "date", Description: resource.AgeColumn.Description},
}

func tableColumns(d *resource.Definition, v *resource.Version) []metav1.TableColumnDefinition {
	if hasColumns(d, v) {
		return v.Columns
	}
	return defaultColumns
}

func hasColumns(d *resource.Definition, v *resource.Version) bool {
	return d.Hooks.Cells != nil && len(v.Columns) > 0
}

func appendColumns(dst []byte, columns []metav1.TableColumnDefinition) []byte {
	dst = append(dst, '[')
	for i, c := range columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = api.AppendString(append(dst, `{"name":`...), c.Name)
		dst = api.AppendString(append(dst, `,"type":`...), c.Type)
		dst = api.AppendString(append(dst, `,"format":`...), c.Format)
		dst = api.AppendString(append(dst, `,"description":`...), c.Description)
		dst = strconv.AppendInt(append(dst, `,"priority":`...), int64(c.Priority), 10)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendCells begins a row: its cells and conditions.
func (s *Server) appendCells(dst []byte, d *resource.Definition, v *resource.Version, rec *api.Record) ([]byte, error) {
	cells, conditions, err := s.tableCells(d, v, rec)
	if err != nil {
		return dst, err
	}
	dst = append(dst, `{"cells":[`...)
	for i, c := range cells {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendCell(dst, c); err != nil {
			return dst, err
		}
	}
	dst = append(dst, ']')
	if len(conditions) > 0 {
		b, err := json.Marshal(conditions)
		if err != nil {
			return dst, err
		}
		dst = append(append(dst, `,"conditions":`...), b...)
	}
	return dst, nil
}

func (s *Server) tableCells(d *resource.Definition, v *resource.Version, rec *api.Record) ([]any, []metav1.TableRowCondition, error) {
	if !hasColumns(d, v) {
		var meta metav1.ObjectMeta
		if err := json.Unmarshal(rec.Metadata(), &meta); err != nil {
			return nil, nil, err
		}
		return []any{meta.Name, meta.CreationTimestamp.UTC().Format(time.RFC3339)}, nil, nil
	}
	shown := v
	if !d.Custom {
		shown = d.Storage()
	}
	doc, err := s.rendition(d, shown, rec)
	if err != nil {
		return nil, nil, err
	}
	return d.Hooks.Cells(v, doc.json)
}

// appendCell appends a cell: a string, number, boolean or null, or what a custom resource's column found (a map or list).
func appendCell(dst []byte, c any) ([]byte, error) {
	switch c := c.(type) {
	case nil:
		return append(dst, "null"...), nil
	case string:
		return api.AppendString(dst, c), nil
	case int64:
		return strconv.AppendInt(dst, c, 10), nil
	case int32:
		return strconv.AppendInt(dst, int64(c), 10), nil
	case int:
		return strconv.AppendInt(dst, int64(c), 10), nil
	case bool:
		return strconv.AppendBool(dst, c), nil
	case float64:
		if math.IsNaN(c) || math.IsInf(c, 0) {
			return append(dst, "null"...), nil
		}
	}
	b, err := json.Marshal(c)
	return append(dst, b...), err
}
