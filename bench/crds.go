package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// definitions makes many CustomResourceDefinitions one after the other, asks for the objects of each as soon as it is
// made, and then for the description of all.
func definitions(ctx context.Context, c *Config, e *endpoint, r *Report) (err error) {
	c.Progress("%d custom resource definitions", c.Definitions)
	made := 0
	defer func() {
		for i := range made {
			_, derr := e.do(ctx, call{method: "DELETE", path: definitionsPath + "/" + definitionPlural(i) + "." + definitionGroup(i)})
			err = errors.Join(err, derr)
		}
	}()
	create := func(i int) (int, error) {
		body := definition(i)
		if _, err := e.do(ctx, call{method: "POST", path: definitionsPath, body: body}); err != nil {
			return 0, err
		}
		made = i + 1
		return len(body), nil
	}
	const openAPI = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
	describe := func() (time.Duration, int, error) {
		cpu := e.cpu()
		n, err := e.do(ctx, call{method: "GET", path: "/openapi/v2", accept: openAPI, gzip: true})
		return e.cpu() - cpu, n, err
	}
	// What the first definition and the first description load stays loaded.
	if _, err := create(0); err != nil {
		return err
	}
	if _, _, err := describe(); err != nil {
		return err
	}
	time.Sleep(restTime)
	memory, cpu, start, size := e.data(), e.cpu(), time.Now(), 0
	var late time.Duration // the longest time from a create's return to its objects being served
	for i := 1; i <= c.Definitions; i++ {
		n, err := create(i)
		if err != nil {
			return err
		}
		size += n
		created := time.Now()
		path := "/apis/" + definitionGroup(i) + "/v1/" + definitionPlural(i)
		if err := await(ctx, e, path, func([]byte) bool { return true }); err != nil {
			return err
		}
		late = max(late, time.Since(created))
	}
	took, used := time.Since(start), e.cpu()-cpu
	time.Sleep(restTime)
	grown := e.data() - memory
	n := strconv.Itoa(c.Definitions)
	add := func(work, unit string, v float64) { r.add(Figure{Work: work, Unit: unit, Value: v}) }
	add(fmt.Sprintf("%s CRDs of %d KB, CPU", n, size/c.Definitions/1000), "s", used.Seconds())
	add("the same, duration", "s", took.Seconds())
	add("objects served after a create returned, at most", "ms", micros(late)/1000)
	add("memory grown per CRD, but for pages of the program", "KiB", float64(grown)/1024/float64(c.Definitions))
	first, bytes, err := describe()
	if err != nil {
		return err
	}
	add(fmt.Sprintf("OpenAPI v2 of %s CRDs, %d KB, CPU", n, bytes/1000), "ms", micros(first)/1000)
	if _, err := create(c.Definitions + 1); err != nil {
		return err
	}
	again, _, err := describe()
	if err != nil {
		return err
	}
	add("the same after one more CRD, CPU", "ms", micros(again)/1000)
	time.Sleep(restTime)
	add("memory grown per CRD, then", "KiB", float64(e.data()-memory)/1024/float64(c.Definitions))
	return nil
}

func definitionGroup(i int) string { return fmt.Sprintf("g%d.bench.pintle.dev", i%20) }

func definitionPlural(i int) string { return "kind" + strconv.Itoa(i) + "s" }

// definition is a CustomResourceDefinition with a schema of 20 KB, as operators have them: nested objects, lists by key,
// defaults, limits, descriptions and a rule that no other has.
func definition(i int) []byte {
	var b strings.Builder
	plural := definitionPlural(i)
	kind := "K" + strings.TrimSuffix(plural[1:], "s")
	fmt.Fprintf(&b, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"%s.%s"},
"spec":{"group":"%s","scope":"Namespaced","names":{"plural":%q,"singular":%q,"kind":%q,"listKind":%q},
"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},
"additionalPrinterColumns":[{"name":"Phase","type":"string","jsonPath":".status.phase"}],
"schema":{"openAPIV3Schema":{"type":"object","description":"%s is one of many kinds.","properties":{
"spec":{"type":"object","required":["name"],"x-kubernetes-validations":[{"rule":"self.name != 'none%d'","message":"must be something"}],"properties":{"name":{"type":"string","maxLength":63}`,
		plural, definitionGroup(i), definitionGroup(i), plural, strings.TrimSuffix(plural, "s"), kind, kind+"List", kind, i)
	const says = "It says in a sentence or two what the field is for, when to set it, and what happens when it is left out."
	for part := range 16 {
		fmt.Fprintf(&b, `,"part%d":{"type":"object","description":"Part %d. %s","properties":{
"mode":{"type":"string","enum":["Always","Never","Sometimes"],"default":"Always","description":"Mode of part %d. %s"},
"port":{"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}],"description":"%s"},
"replicas":{"type":"integer","format":"int32","minimum":0,"maximum":100,"description":"%s"},
"labels":{"type":"object","additionalProperties":{"type":"string"},"description":"%s"},
"items":{"type":"array","maxItems":16,"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"description":"%s","items":{"type":"object","required":["name"],
"properties":{"name":{"type":"string","pattern":"^[a-z0-9]+$"},"value":{"type":"string","maxLength":256},"optional":{"type":"boolean"}}}}}}`, part, part, says, part, says, says, says, says, says)
	}
	b.WriteString(`}},"status":{"type":"object","properties":{"phase":{"type":"string"},"observedGeneration":{"type":"integer","format":"int64"}}}}}}}]}}`)
	return []byte(b.String())
}
