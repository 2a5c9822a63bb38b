package cluster

import (
	"fmt"
	"net/url"
	"strconv"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/client"
)

// podContainers are the names of a pod's containers.
type podContainers struct {
	Spec struct {
		InitContainers      []named `json:"initContainers"`
		Containers          []named `json:"containers"`
		EphemeralContainers []named `json:"ephemeralContainers"`
	} `json:"spec"`
}

type named struct {
	Name string `json:"name"`
}

// checkContainer makes sure that a stream says which container it is for, in upstream's words.
func checkContainer(pod *api.Record, container string) error {
	p, err := client.Decode[podContainers](pod)
	if err != nil {
		return err
	}
	list := func(cs []named) []string {
		var names []string
		for _, c := range cs {
			names = append(names, c.Name)
		}
		return names
	}
	if container != "" {
		for _, cs := range [][]named{p.Spec.Containers, p.Spec.InitContainers, p.Spec.EphemeralContainers} {
			for _, c := range cs {
				if c.Name == container {
					return nil
				}
			}
		}
		return api.BadRequest("container %s is not valid for pod %s", container, pod.Name())
	}
	if len(p.Spec.Containers) == 1 && len(p.Spec.InitContainers) == 0 {
		return nil
	}
	text := fmt.Sprintf("a container name must be specified for pod %s, choose one of: %s", pod.Name(), list(p.Spec.Containers))
	if init := list(p.Spec.InitContainers); len(init) > 0 {
		text += fmt.Sprintf(" or one of the init containers: %s", init)
	}
	return api.BadRequest("%s", text)
}

// checkLogOptions validates the query of a request for a log: core/v1 PodLogOptions.
func checkLogOptions(name string, q url.Values) error {
	var errs field.ErrorList
	number := func(key string, least int64, msg string) error {
		text := q.Get(key)
		if text == "" {
			return nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return api.BadRequest("%s", err)
		}
		if n < least {
			errs = append(errs, field.Invalid(field.NewPath(key), n, msg))
		}
		return nil
	}
	for _, o := range []struct {
		key   string
		least int64
		msg   string
	}{
		{"tailLines", 0, "must be greater than or equal to 0"},
		{"sinceSeconds", 1, "must be greater than 0"},
		{"limitBytes", 1, "must be greater than 0"},
	} {
		if err := number(o.key, o.least, o.msg); err != nil {
			return err
		}
	}
	if q.Get("sinceSeconds") != "" && q.Get("sinceTime") != "" {
		errs = append(errs, field.Forbidden(field.NewPath(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
	}
	if len(errs) > 0 {
		return api.Invalid("", "PodLogOptions", name, errs)
	}
	return nil
}
