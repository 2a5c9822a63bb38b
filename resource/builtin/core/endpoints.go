package core

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
)

// Endpoints defines core/v1 Endpoints.
func Endpoints() *resource.Definition {
	return resource.Typed[corev1.Endpoints]{
		Definition: resource.Definition{
			Resource: api.Endpoints, Kind: "Endpoints", Singular: "endpoints", ShortNames: []string{"ep"}, Namespaced: true,
			MetadataRules: []resource.MetadataRule{resource.ChangedMetadata, resource.WholeMetadata},
			Versions: []resource.Version{{Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "Endpoints", Type: "string", Description: corev1.Endpoints{}.SwaggerDoc()["subsets"]},
				resource.AgeColumn,
			}}},
			CreateOnUpdate: true,
		},
		Default: func(o *corev1.Endpoints) {
			for i := range o.Subsets {
				for j := range o.Subsets[i].Ports {
					if p := &o.Subsets[i].Ports[j]; p.Protocol == "" {
						p.Protocol = corev1.ProtocolTCP
					}
				}
			}
		},
		Validate: func(_ context.Context, _ *resource.Write, o, _ *corev1.Endpoints) field.ErrorList {
			var errs field.ErrorList
			for i := range o.Subsets {
				errs = append(errs, validateSubset(&o.Subsets[i], field.NewPath("subsets").Index(i))...)
			}
			return errs
		},
		Cells: func(o *corev1.Endpoints) []any {
			return []any{o.Name, endpointsCell(o.Subsets), resource.Age(o.CreationTimestamp)}
		},
	}.Define()
}

func validateSubset(s *corev1.EndpointSubset, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.Addresses) == 0 && len(s.NotReadyAddresses) == 0 {
		errs = append(errs, field.Required(p, "must specify `addresses` or `notReadyAddresses`"))
	}
	for i := range s.Addresses {
		errs = append(errs, validateEndpointAddress(&s.Addresses[i], p.Child("addresses").Index(i))...)
	}
	for i := range s.NotReadyAddresses {
		errs = append(errs, validateEndpointAddress(&s.NotReadyAddresses[i], p.Child("notReadyAddresses").Index(i))...)
	}
	for i := range s.Ports {
		errs = append(errs, validateEndpointPort(&s.Ports[i], len(s.Ports) > 1, p.Child("ports").Index(i))...)
	}
	return errs
}

func validateEndpointAddress(a *corev1.EndpointAddress, p *field.Path) field.ErrorList {
	errs := validation.IsValidIPForLegacyField(p.Child("ip"), a.IP, false, nil)
	if a.Hostname != "" {
		for _, msg := range validation.IsDNS1123Label(a.Hostname) {
			errs = append(errs, field.Invalid(p.Child("hostname"), a.Hostname, msg))
		}
	}
	if a.NodeName != nil {
		for _, msg := range validation.IsDNS1123Subdomain(*a.NodeName) {
			errs = append(errs, field.Invalid(p.Child("nodeName"), *a.NodeName, msg))
		}
	}
	return append(errs, rules.NonSpecialIP(p, a.IP, "ip")...)
}

var portProtocols = []string{string(corev1.ProtocolSCTP), string(corev1.ProtocolTCP), string(corev1.ProtocolUDP)}

func validateEndpointPort(o *corev1.EndpointPort, nameRequired bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if o.Name == "" {
		if nameRequired {
			errs = append(errs, field.Required(p.Child("name"), ""))
		}
	} else {
		for _, msg := range validation.IsDNS1123Label(o.Name) {
			errs = append(errs, field.Invalid(p.Child("name"), o.Name, msg))
		}
	}
	for _, msg := range validation.IsValidPortNum(int(o.Port)) {
		errs = append(errs, field.Invalid(p.Child("port"), o.Port, msg))
	}
	switch {
	case o.Protocol == "":
		errs = append(errs, field.Required(p.Child("protocol"), ""))
	case !sets.New(portProtocols...).Has(string(o.Protocol)):
		errs = append(errs, field.NotSupported(p.Child("protocol"), string(o.Protocol), portProtocols))
	}
	if o.AppProtocol != nil {
		for _, msg := range validation.IsQualifiedName(*o.AppProtocol) {
			errs = append(errs, field.Invalid(p.Child("appProtocol"), *o.AppProtocol, msg))
		}
	}
	return errs
}

// endpointsCell shows the first three ready addresses, port by port, and how many more there are.
func endpointsCell(subsets []corev1.EndpointSubset) string {
	const most = 3
	var list []string
	count := 0
	add := func(s string) {
		if count++; len(list) < most {
			list = append(list, s)
		}
	}
	for _, s := range subsets {
		if len(s.Ports) == 0 {
			for _, a := range s.Addresses {
				add(a.IP)
			}
		}
		for _, p := range s.Ports {
			for _, a := range s.Addresses {
				if strings.Contains(a.IP, ":") {
					add("[" + a.IP + "]:" + strconv.Itoa(int(p.Port)))
				} else {
					add(a.IP + ":" + strconv.Itoa(int(p.Port)))
				}
			}
		}
	}
	switch {
	case count == 0:
		return "<none>"
	case count > most:
		return fmt.Sprintf("%s + %d more...", strings.Join(list, ","), count-most)
	}
	return strings.Join(list, ",")
}
