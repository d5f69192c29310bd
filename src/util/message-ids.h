/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* MESSAGE_ID= of events in the journal: what kind of event it is, for ever, whatever its text says.
 */

/* Of the log itself. */
#define MESSAGE_LINES_LOST "38e7989a004743629b49e54d6cc4c5a2"
