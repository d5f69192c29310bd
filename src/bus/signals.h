/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Signals: what the engine tells the server goes out from here, unicast where it is of one user. */

#include "bus/server.h"
#include "engine/engine.h"

/* Its userdata is the Server. */
extern const EngineListener signals_listener;

/* The manager's State has changed. */
void signals_tell_state(Server *server);
