package describe

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"sync"

	"pintle.dev/object"
)

// The protobuf forms of OpenAPI are those of github.com/google/gnostic-models (OpenAPIv2.proto, OpenAPIv3.proto): a
// message for each kind of JSON object, maps as lists of named values, and JSON values where anything may stand. They are
// written from the JSON form; upstream's way there, over a YAML parser and generated types, costs seconds for a large
// document.

// protoBody appends the fields of a message that stands for a JSON value.
type protoBody func(dst []byte, v *object.Value) []byte

// protoField appends a field with its number.
type protoField func(dst []byte, number int, v *object.Value) []byte

// protoObject is a message for JSON objects of known members. Members that begin with "x-" are named values.
type protoObject struct {
	members    map[string]protoMember
	extensions int // the number of the field that holds the named values
}

type protoMember struct {
	number int
	field  protoField
}

func (o *protoObject) body(dst []byte, v *object.Value) []byte {
	for name, member := range v.Fields() {
		if m, ok := o.members[name]; ok {
			dst = m.field(dst, m.number, member)
		} else if o.extensions > 0 && strings.HasPrefix(name, "x-") {
			dst = appendNamed(dst, o.extensions, member, protoJSON)
		}
	}
	return dst
}

func appendTag(dst []byte, number, wire int) []byte {
	return binary.AppendUvarint(dst, uint64(number)<<3|uint64(wire))
}

// appendSize begins a field that holds a message of so many bytes.
func appendSize(dst []byte, number, size int) []byte {
	return binary.AppendUvarint(appendTag(dst, number, 2), uint64(size))
}

// appendMessage appends a message within another: its size comes first, known last.
func appendMessage(dst []byte, number int, v *object.Value, body protoBody) []byte {
	dst = appendTag(dst, number, 2)
	start := len(dst)
	dst = body(dst, v)
	size := len(dst) - start
	var head [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(head[:], uint64(size))
	dst = append(dst, head[:n]...)
	copy(dst[start+n:], dst[start:start+size])
	copy(dst[start:], head[:n])
	return dst
}

// appendNamed appends a member of a JSON object as a message of its name and value.
func appendNamed(dst []byte, number int, v *object.Value, body protoBody) []byte {
	return appendMessage(dst, number, v, func(dst []byte, v *object.Value) []byte {
		dst = appendText(dst, 1, v.Name())
		return appendMessage(dst, 2, v, body)
	})
}

func appendText(dst []byte, number int, s string) []byte {
	if s == "" {
		return dst
	}
	dst = appendTag(dst, number, 2)
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func protoString(dst []byte, number int, v *object.Value) []byte {
	return appendText(dst, number, v.Str())
}

// protoStrings appends a list of strings. A lone string stands for a list of one, as "type" has it.
func protoStrings(dst []byte, number int, v *object.Value) []byte {
	if v.Kind() == object.String {
		return appendText(dst, number, v.Str())
	}
	for _, item := range v.Items() {
		dst = appendTag(dst, number, 2)
		dst = binary.AppendUvarint(dst, uint64(len(item.Str())))
		dst = append(dst, item.Str()...)
	}
	return dst
}

func protoBool(dst []byte, number int, v *object.Value) []byte {
	if !v.Bool() {
		return dst
	}
	return append(appendTag(dst, number, 0), 1)
}

func protoInt(dst []byte, number int, v *object.Value) []byte {
	n := int64(floatOf(v))
	if i, ok := v.ToAny().(int64); ok {
		n = i
	}
	if n == 0 {
		return dst
	}
	return binary.AppendUvarint(appendTag(dst, number, 0), uint64(n))
}

func protoDouble(dst []byte, number int, v *object.Value) []byte {
	f := floatOf(v)
	if f == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint64(appendTag(dst, number, 1), math.Float64bits(f))
}

func floatOf(v *object.Value) float64 {
	switch n := v.ToAny().(type) {
	case int64:
		return float64(n)
	case float64:
		return n
	}
	return 0
}

// protoJSON is the message Any: any value, as YAML. JSON is YAML.
func protoJSON(dst []byte, v *object.Value) []byte {
	return appendText(dst, 2, string(object.AppendJSON(nil, v)))
}

// protoOne is a field that holds one message.
func protoOne(body protoBody) protoField {
	return func(dst []byte, number int, v *object.Value) []byte { return appendMessage(dst, number, v, body) }
}

// protoEach is a field that holds a message for each item of a list.
func protoEach(body protoBody) protoField {
	return func(dst []byte, number int, v *object.Value) []byte {
		for _, item := range v.Items() {
			dst = appendMessage(dst, number, item, body)
		}
		return dst
	}
}

// protoNamed is a message that holds the members of a JSON object as named values.
func protoNamed(number int, body protoBody) protoBody {
	return func(dst []byte, v *object.Value) []byte {
		for _, member := range v.Fields() {
			dst = appendNamed(dst, number, member, body)
		}
		return dst
	}
}

// protoWithin is a message whose only field is another: the alternatives of a choice.
func protoWithin(body protoBody, numbers ...int) protoBody {
	for i := len(numbers) - 1; i >= 0; i-- {
		inner, number := body, numbers[i]
		body = func(dst []byte, v *object.Value) []byte { return appendMessage(dst, number, v, inner) }
	}
	return body
}

// protoSchemaOrBool is what additionalProperties holds.
func protoSchemaOrBool(schema protoBody) protoBody {
	return func(dst []byte, v *object.Value) []byte {
		if v.Kind() != object.Bool {
			return appendMessage(dst, 1, v, schema)
		}
		dst = appendTag(dst, 2, 0)
		if v.Bool() {
			return append(dst, 1)
		}
		return append(dst, 0) // one alternative of a choice is written even when it is false
	}
}

// protoMembers reads "name=number" pairs whose fields are written alike.
func protoMembers(into map[string]protoMember, field protoField, pairs string) {
	for pair := range strings.FieldsSeq(pairs) {
		name, number, _ := strings.Cut(pair, "=")
		m := protoMember{field: field}
		if _, err := fmt.Sscan(number, &m.number); err != nil {
			panic("malformed table of members: " + pair)
		}
		into[name] = m
	}
}

// scalarMembers makes a table of members out of one string per way of writing them.
func scalarMembers(strs, lists, bools, ints, doubles string) map[string]protoMember {
	m := map[string]protoMember{}
	protoMembers(m, protoString, strs)
	protoMembers(m, protoStrings, lists)
	protoMembers(m, protoBool, bools)
	protoMembers(m, protoInt, ints)
	protoMembers(m, protoDouble, doubles)
	return m
}

// protoForms are the messages of one version of OpenAPI that documents are put together from.
type protoForms struct {
	pathItem, schema protoBody
	head             protoBody // of the document, but paths and schemas
	components       protoBody // of v3's components, but schemas
}

// protoV2 are the messages of OpenAPI v2.
var protoV2 = sync.OnceValue(func() *protoForms {
	documentation := &protoObject{members: scalarMembers("description=1 url=2", "", "", "", ""), extensions: 3}
	schema := &protoObject{extensions: 31, members: scalarMembers(
		"$ref=1 format=2 title=3 description=4 pattern=13 discriminator=26", "required=19",
		"exclusiveMaximum=8 exclusiveMinimum=10 uniqueItems=16 readOnly=27",
		"maxLength=11 minLength=12 maxItems=14 minItems=15 maxProperties=17 minProperties=18",
		"multipleOf=6 maximum=7 minimum=9")}
	for name, m := range map[string]protoMember{
		"default": {5, protoOne(protoJSON)}, "example": {30, protoOne(protoJSON)}, "enum": {20, protoEach(protoJSON)},
		"additionalProperties": {21, protoOne(protoSchemaOrBool(schema.body))},
		"type":                 {22, protoOne(func(dst []byte, v *object.Value) []byte { return protoStrings(dst, 1, v) })},
		"items":                {23, protoOne(protoWithin(schema.body, 1))},
		"allOf":                {24, protoEach(schema.body)},
		"properties":           {25, protoOne(protoNamed(1, schema.body))},
		"externalDocs":         {29, protoOne(documentation.body)},
	} {
		schema.members[name] = m
	}
	body := &protoObject{extensions: 6, members: scalarMembers("description=1 name=2 in=3", "", "required=4", "", "")}
	body.members["schema"] = protoMember{5, protoOne(schema.body)}
	query := &protoObject{extensions: 23, members: scalarMembers("in=2 description=3 name=4 type=6 format=7", "", "required=1 uniqueItems=20", "", "")}
	path := &protoObject{extensions: 22, members: scalarMembers("in=2 description=3 name=4 type=5 format=6", "", "required=1 uniqueItems=19", "", "")}
	parameter := func(dst []byte, v *object.Value) []byte {
		switch v.Get("in").Str() {
		case "body":
			return appendMessage(dst, 1, v, body.body)
		case "path":
			return protoWithin(path.body, 2, 4)(dst, v)
		}
		return protoWithin(query.body, 2, 3)(dst, v)
	}
	reference := &protoObject{members: scalarMembers("$ref=1 description=2", "", "", "", "")}
	response := &protoObject{extensions: 5, members: scalarMembers("description=1", "", "", "", "")}
	response.members["schema"] = protoMember{2, protoOne(protoWithin(schema.body, 1))}
	operation := &protoObject{extensions: 13, members: scalarMembers("summary=2 description=3 operationId=5", "tags=1 produces=6 consumes=7 schemes=10", "deprecated=11", "", "")}
	operation.members["parameters"] = protoMember{8, protoEach(func(dst []byte, v *object.Value) []byte {
		if v.Get("$ref") != nil {
			return appendMessage(dst, 2, v, reference.body)
		}
		return appendMessage(dst, 1, v, parameter)
	})}
	operation.members["responses"] = protoMember{9, protoOne(protoNamed(1, protoWithin(response.body, 1)))}
	item := &protoObject{extensions: 10, members: map[string]protoMember{"parameters": {9, operation.members["parameters"].field}}}
	protoMembers(item.members, protoOne(operation.body), "get=2 put=3 post=4 delete=5 options=6 head=7 patch=8")

	info := &protoObject{extensions: 7, members: scalarMembers("title=1 version=2 description=3", "", "", "", "")}
	key := &protoObject{extensions: 5, members: scalarMembers("type=1 name=2 in=3 description=4", "", "", "", "")}
	head := &protoObject{members: scalarMembers("swagger=1", "", "", "", "")}
	head.members["info"] = protoMember{2, protoOne(info.body)}
	head.members["security"] = protoMember{12, protoEach(protoNamed(1, func(dst []byte, v *object.Value) []byte { return protoStrings(dst, 1, v) }))}
	head.members["securityDefinitions"] = protoMember{13, protoOne(protoNamed(1, protoWithin(key.body, 2)))}
	head.members["parameters"] = protoMember{10, protoOne(protoNamed(1, parameter))}
	return &protoForms{pathItem: item.body, schema: schema.body, head: head.body}
})

// protoV3 are the messages of OpenAPI v3. Most things may be replaced by a reference there, which takes a message around
// each.
var protoV3 = sync.OnceValue(func() *protoForms {
	reference := &protoObject{members: scalarMembers("$ref=1 summary=2 description=3", "", "", "", "")}
	orReference := func(body protoBody) protoBody {
		return func(dst []byte, v *object.Value) []byte {
			if v.Get("$ref") != nil {
				return appendMessage(dst, 2, v, reference.body)
			}
			return appendMessage(dst, 1, v, body)
		}
	}
	documentation := &protoObject{members: scalarMembers("description=1 url=2", "", "", "", ""), extensions: 3}
	schema := &protoObject{extensions: 36, members: scalarMembers(
		"title=9 pattern=17 type=25 description=34 format=35", "required=23",
		"nullable=1 readOnly=3 writeOnly=4 deprecated=8 exclusiveMaximum=12 exclusiveMinimum=14 uniqueItems=20",
		"maxLength=15 minLength=16 maxItems=18 minItems=19 maxProperties=21 minProperties=22",
		"multipleOf=10 maximum=11 minimum=13")}
	either := orReference(schema.body)
	for name, m := range map[string]protoMember{
		"externalDocs": {6, protoOne(documentation.body)}, "example": {7, protoOne(protoJSON)}, "enum": {24, protoEach(protoJSON)},
		"allOf": {26, protoEach(either)}, "oneOf": {27, protoEach(either)}, "anyOf": {28, protoEach(either)}, "not": {29, protoOne(schema.body)},
		"items":                {30, protoOne(protoWithin(either, 1))},
		"properties":           {31, protoOne(protoNamed(1, either))},
		"additionalProperties": {32, protoOne(protoSchemaOrBool(either))},
		"default":              {33, protoOne(protoDefault)},
	} {
		schema.members[name] = m
	}
	media := &protoObject{extensions: 5, members: map[string]protoMember{"schema": {1, protoOne(either)}}}
	content := protoOne(protoNamed(1, media.body))
	parameter := &protoObject{extensions: 14, members: scalarMembers("name=1 in=2 description=3", "", "required=4", "", "")}
	parameter.members["schema"] = protoMember{10, protoOne(either)}
	body := &protoObject{extensions: 4, members: scalarMembers("description=1", "", "required=3", "", "")}
	body.members["content"] = protoMember{2, content}
	response := &protoObject{extensions: 5, members: scalarMembers("description=1", "", "", "", "")}
	response.members["content"] = protoMember{3, content}
	operation := &protoObject{extensions: 13, members: scalarMembers("summary=2 description=3 operationId=5", "tags=1", "deprecated=10", "", "")}
	parameters := protoEach(orReference(parameter.body))
	operation.members["parameters"] = protoMember{6, parameters}
	operation.members["requestBody"] = protoMember{7, protoOne(orReference(body.body))}
	operation.members["responses"] = protoMember{8, protoOne(protoNamed(2, orReference(response.body)))}
	item := &protoObject{extensions: 14, members: scalarMembers("summary=2 description=3", "", "", "", "")}
	item.members["parameters"] = protoMember{13, parameters}
	protoMembers(item.members, protoOne(operation.body), "get=4 put=5 post=6 delete=7 options=8 head=9 patch=10")

	info := &protoObject{extensions: 7, members: scalarMembers("title=1 description=2 version=6", "", "", "", "")}
	head := &protoObject{members: scalarMembers("openapi=1", "", "", "", "")}
	head.members["info"] = protoMember{2, protoOne(info.body)}
	scheme := &protoObject{extensions: 9, members: scalarMembers("type=1 description=2 name=3 in=4", "", "", "", "")}
	components := &protoObject{members: map[string]protoMember{"securitySchemes": {7, protoOne(protoNamed(1, orReference(scheme.body)))}}}
	return &protoForms{pathItem: item.body, schema: either, head: head.body, components: components.body}
})

// protoDefault is a default value, as far as the message can hold one: a number, a boolean or a string. One of the
// alternatives of a choice is written even when it is zero.
func protoDefault(dst []byte, v *object.Value) []byte {
	switch v.Kind() {
	case object.Number:
		return binary.LittleEndian.AppendUint64(appendTag(dst, 1, 1), math.Float64bits(floatOf(v)))
	case object.Bool:
		b := byte(0)
		if v.Bool() {
			b = 1
		}
		return append(appendTag(dst, 2, 0), b)
	case object.String:
		dst = binary.AppendUvarint(appendTag(dst, 3, 2), uint64(len(v.Str())))
		return append(dst, v.Str()...)
	}
	return dst
}
