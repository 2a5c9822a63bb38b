package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// benchRules are rules over a list of 16 items, as the authors of well-known operators write them.
var benchRules = []struct{ name, rule string }{
	{"list", `self.all(i, i.name.startsWith('item-') && i.value.size() > 0)`},
	{"exists", `self.exists(i, i.name == 'item-15')`},
	{"exists_one", `self.exists_one(i, i.name == 'item-07')`},
	{"filter+map", `self.filter(i, i.name != 'item-03').map(i, i.value.size()).all(n, n > 5)`},
	{"has", `self.all(i, !has(i.value) || i.value.size() < 100)`},
	{"oneof", `self.all(i, [has(i.value), has(i.extra), has(i.cpu)].filter(x, x).size() == 2)`},
	{"union", `self.all(i, i.kind == 'A' ? has(i.value) && !has(i.extra) : i.kind == 'B' ? has(i.cpu) : true)`},
	{"distinct", `self.all(a, self.exists_one(b, a.name == b.name))`},
	{"distinct2", `self.all(a, self.exists_one(b, (has(a.kind) && has(b.kind) && a.kind == b.kind || !has(a.kind) && !has(b.kind)) && a.name == b.name))`},
	{"count", `self.all(a, self.filter(b, b.name == a.name).size() == 1)`},
	{"strings", `self.all(i, i.name.matches('^item-[0-9]+$') && !i.value.contains('none') && i.name in ['item-00', i.name])`},
	{"enum", `self.all(i, i.kind in ['A', 'B', 'C'])`},
	{"immutable", `self.map(i, i.name).all(n, n in oldSelf.map(i, i.name)) || self == oldSelf`},
	{"equal", `self == oldSelf || self.size() == oldSelf.size()`},
	{"transition", `self.all(i, oldSelf.exists(o, o.name == i.name))`},
	{"kept", `oldSelf.all(o, self.exists(i, i.name == o.name && i.kind == o.kind))`},
	{"absorbed", `self.exists(i, i.extra == 'x' || i.name == 'item-15')`},
	{"tags", `self.all(i, i.tags.all(t, t.size() > 0 && t.size() < 64))`},
	{"labels", `self.all(i, i.labels.all(k, k.size() < 64 && i.labels[k] != ''))`},
	{"ternary", `self.all(i, (has(i.tags) ? i.tags : []).size() < 10)`},
	{"split", `self.all(i, i.name.split('-')[0] == 'item')`},
	{"substring", `self.all(i, i.host.startsWith('*.') ? i.host.substring(2).matches('^[a-z.]+$') : true)`},
	{"find", `self.all(i, !i.host.find('^([^.]+)').endsWith('k8s'))`},
	{"duration", `self.all(i, duration(i.timeout) >= duration('1ms'))`},
	{"durations", `self.all(i, !has(i.timeout) || !has(i.wait) || duration(i.timeout) < i.wait)`},
	{"timestamp", `self.all(i, i.when > timestamp('2020-01-01T00:00:00Z'))`},
	{"intorstring", `self.all(i, type(i.port) == int ? i.port > 0 && i.port < 65536 : string(i.port).matches('^[a-z]+$'))`},
	{"quantity", `self.all(i, quantity(i.cpu).isGreaterThan(quantity('1m')))`},
	{"ip", `self.all(i, isIP(i.ip) && ip(i.ip).family() == 4)`},
	{"cidr", `self.all(i, cidr('10.0.0.0/8').containsIP(i.ip))`},
	{"url", `self.all(i, isURL(i.url) && url(i.url).getScheme() in ['http', 'https'])`},
	{"format", `self.all(i, !format.dns1123Label().validate(i.name).hasValue())`},
	{"int", `self.all(i, int(i.count) >= 0)`},
	{"mapliteral", `self.all(i, {'A': 1, 'B': 2}[i.kind] > 0)`},
	{"twovars", `self.all(n, i, n == 0 || self[n - 1].name < i.name)`},
}

// ruledItems is a list with a rule at it.
func ruledItems(tb testing.TB, rule string) *Schema {
	quoted, err := json.Marshal(rule)
	if err != nil {
		tb.Fatal(err)
	}
	text := func(more string) string { return `{"type":"string","maxLength":253` + more + `}` }
	return mustCompile(tb, `{"type":"object","properties":{"items":{"type":"array","maxItems":64,"x-kubernetes-validations":[{"rule":`+string(quoted)+`}],"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],
		"items":{"type":"object","required":["name"],"properties":{"name":`+text("")+`,"value":`+text("")+`,"extra":`+text("")+`,"kind":`+text("")+`,"host":`+text("")+`,"timeout":`+text("")+`,"wait":`+text(`,"format":"duration"`)+`,
			"when":`+text(`,"format":"date-time"`)+`,"cpu":`+text("")+`,"ip":`+text("")+`,"url":`+text("")+`,"count":`+text("")+`,"port":{"x-kubernetes-int-or-string":true},
			"tags":{"type":"array","maxItems":8,"items":`+text("")+`},"labels":{"type":"object","maxProperties":8,"additionalProperties":`+text("")+`}}}}}}`)
}

// ruledItemsDoc has 16 items with a value for everything but extra.
func ruledItemsDoc() string {
	items := make([]string, 16)
	for i := range items {
		items[i] = fmt.Sprintf(`{"name":"item-%02d","value":"some value of the item %[1]d","kind":"%[2]s","host":"*.example%[3]s.com","timeout":"1%[1]ds","wait":"1h","when":"2026-01-02T03:04:%02[1]dZ",
			"cpu":"%[1]d500m","ip":"10.1.2.%[1]d","url":"https://example.com/%[1]d","count":"%[1]d","port":%[4]s,"tags":["a","bb"],"labels":{"k":"v","l":"w"}}`,
			i, []string{"A", "B"}[i%2], []string{"a", "b"}[i%2], []string{"8080", `"http"`}[i%2])
	}
	return `{"items":[` + strings.Join(items, ",") + `]}`
}

// TestBenchRules: the rules of BenchmarkRules are compiled, and found to hold without cel-go.
func TestBenchRules(t *testing.T) {
	doc := mustParse(t, ruledItemsDoc())
	for _, c := range benchRules {
		u, err := ruledItems(t, c.rule).upstream()
		if err != nil || u.evaluator == nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		r := u.evaluator.properties[0].rules[0]
		if r.compiled == nil {
			t.Errorf("%s: not compiled", c.name)
		} else if !r.compiled.Eval(t.Context(), doc.Get("items"), doc.Get("items")).Holds {
			t.Errorf("%s: does not hold", c.name)
		}
		agreeOn(t, ruledItems(t, c.rule), doc, doc)
	}
}

// BenchmarkRules is what rules over a list of 16 items cost at an update that changes one of them.
func BenchmarkRules(b *testing.B) {
	doc := mustParse(b, ruledItemsDoc())
	changed := mustParse(b, strings.Replace(ruledItemsDoc(), "item 7", "item seven", 1))
	for _, c := range benchRules {
		u, err := ruledItems(b, c.rule).upstream()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ev := &evaluation{ctx: b.Context(), budget: celconfig.RuntimeCELCostBudget}
				if u.evaluator.run(ev, changed, doc); len(ev.errs) > 0 {
					b.Fatal("a rule does not hold")
				}
			}
		})
	}
}
