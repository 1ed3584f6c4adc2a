/* A datapath for tests: another one underneath, and faults on purpose. See faulty.c. */
#ifndef INSANE_FAULTY_H
#define INSANE_FAULTY_H

#include "core/datapath.h"

extern const struct ins_datapath_ops ins_faulty_ops;

int ins_faulty_probe(const char *interface_or_empty, struct ins_probe *out);

#endif
