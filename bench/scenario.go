package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// idle measures the memory of a server at rest that has been used a little: what it loads on first use is part of it.
// It lets the server come to rest before as well, as one may give back then what its start took.
func idle(ctx context.Context, c *Config, e *endpoint, r *Report) error {
	c.Progress("idle memory")
	time.Sleep(restTime)
	k := configMaps()
	ns, cleanup, err := k.prepare(ctx, e)
	if err != nil {
		return err
	}
	one := k.path(ns) + "/" + objectName(0)
	for _, q := range []call{
		{method: "POST", path: k.path(ns), body: k.object(objectName(0), 0)},
		{method: "GET", path: one},
		{method: "PATCH", path: one, body: k.patch("0"), contentType: mergePatchType},
		{method: "GET", path: "/api/v1/pods"},
		{method: "GET", path: "/apis"},
		{method: "DELETE", path: one},
	} {
		if _, err := e.do(ctx, q); err != nil {
			return err
		}
	}
	cleanup()
	time.Sleep(restTime)
	r.add(Figure{Work: "idle memory", Unit: "MiB", Value: mib(e.memory())})
	r.add(Figure{Work: "the same, but for pages of the program", Unit: "MiB", Value: mib(e.data())})
	return nil
}

// restTime is how long a server has to come to rest, and to let go of memory that only a burst of writes needed.
const restTime = 3 * time.Second

// deployment asks for a Deployment of many pods and waits until all are ready; the server must have nodes with room.
func deployment(ctx context.Context, c *Config, e *endpoint, r *Report) error {
	c.Progress("deployment of %d pods", c.Pods)
	k := configMaps()
	ns, cleanup, err := k.prepare(ctx, e)
	if err != nil {
		return err
	}
	defer cleanup()
	path := "/apis/apps/v1/namespaces/" + ns + "/deployments"
	// The first pods need their namespace's service account.
	if err := await(ctx, e, "/api/v1/namespaces/"+ns+"/serviceaccounts/default", func([]byte) bool { return true }); err != nil {
		return err
	}
	body := fmt.Appendf(nil, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"bench"},"spec":{"replicas":%d,"selector":{"matchLabels":{"app":"bench"}},
"template":{"metadata":{"labels":{"app":"bench"}},"spec":{"containers":[{"name":"main","image":"example/bench:1","resources":{"requests":{"cpu":"10m","memory":"16Mi"}}}]}}}}`, c.Pods)
	cpu, start := e.cpu(), time.Now()
	if _, err := e.do(ctx, call{method: "POST", path: path, body: body}); err != nil {
		return err
	}
	err = await(ctx, e, path+"/bench", func(b []byte) bool {
		var d struct{ Status struct{ ReadyReplicas int } }
		return json.Unmarshal(b, &d) == nil && d.Status.ReadyReplicas == c.Pods
	})
	if err != nil {
		return err
	}
	took := time.Since(start)
	time.Sleep(time.Second) // events are written behind the pods
	used := e.cpu() - cpu
	r.add(Figure{Work: "deployment of " + strconv.Itoa(c.Pods) + " pods, create to all ready", Unit: "s", Value: took.Seconds()})
	r.add(Figure{Work: "the same, CPU per pod", Unit: "ms", Value: micros(used) / 1000 / float64(c.Pods)})
	r.add(Figure{Work: "memory after it", Unit: "MiB", Value: mib(e.memory())})
	return nil
}

// await asks for an object every 20 ms until it satisfies ok, for at most two minutes.
func await(ctx context.Context, e *endpoint, path string, ok func([]byte) bool) error {
	var last error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var b []byte
		if b, last = e.read(ctx, path); last == nil && ok(b) {
			return nil
		}
	}
	return fmt.Errorf("waiting for %s: it has not come to be within two minutes (last error: %v)", path, last)
}

// curve makes ever more custom resources and measures what an operation costs, and the memory, at each number.
func curve(ctx context.Context, c *Config, e *endpoint, r *Report) error {
	k := customResources()
	ns, cleanup, err := k.prepare(ctx, e)
	if err != nil {
		return err
	}
	defer cleanup()
	k.namespace = ns
	before, made := e.data(), 0
	for _, n := range c.Curve {
		c.Progress("curve: %d custom resources", n)
		run := &basicRun{c: &Config{Objects: n, Writers: c.Writers}, k: k}
		at := func(work, unit string, v float64) {
			r.add(Figure{Kind: k.name, Work: fmt.Sprintf("with %d objects: %s", n, work), Unit: unit, Value: v})
		}
		cpu := e.cpu()
		first := made
		if _, err := each(n-first, c.Writers, func(i int) error {
			_, err := e.do(ctx, call{method: "POST", path: run.collection(), body: k.object(objectName(first+i), first+i)})
			return err
		}); err != nil {
			return err
		}
		at("create, CPU per op", "us", micros(e.cpu()-cpu)/float64(n-first))
		made = n
		const ops = 10_000
		for _, op := range []struct {
			work string
			do   func(i int) call
		}{
			{"get", func(i int) call { return call{method: "GET", path: run.one(i * 7919)} }},
			{"merge patch", func(i int) call {
				return call{method: "PATCH", path: run.one(i * 7919), body: k.patch(strconv.Itoa(i)), contentType: mergePatchType}
			}},
		} {
			cpu := e.cpu()
			if _, err := each(ops, c.Writers, func(i int) error {
				_, err := e.do(ctx, op.do(i))
				return err
			}); err != nil {
				return err
			}
			at(op.work+", CPU per op", "us", micros(e.cpu()-cpu)/ops)
		}
		size, err := e.do(ctx, call{method: "GET", path: run.one(0)})
		if err != nil {
			return err
		}
		grown := e.data() - before
		at("memory grown, but for pages of the program", "MiB", mib(grown))
		at("the same, of their JSON on the wire", "x", float64(grown)/float64(size*n))
	}
	return nil
}
