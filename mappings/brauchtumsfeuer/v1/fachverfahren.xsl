<?xml version="1.0" encoding="UTF-8"?>
<!-- urn:datendrehscheibe:brauchtumsfeuer:1, for the public order office's procedure: each fire carries its span of time. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:brauchtumsfeuer:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="common:fachverfahren.xsl"/>

  <xsl:variable name="wurzel" select="'Feueranzeige'"/>
  <xsl:variable name="namensraum" select="'urn:datendrehscheibe:brauchtumsfeuer:1'"/>

  <xsl:template match="feuer/instance/datum">
    <Zeit datum="{.}" von="{../von}" bis="{../bis}" folgetag="{../folgetag = 'true'}"/>
  </xsl:template>

  <xsl:template match="feuer/instance/von | feuer/instance/bis | feuer/instance/folgetag"/>

  <xsl:template match="zustimmung/instance">
    <Grundstueck eigenes="{selbst = 'true'}">
      <xsl:if test="not(selbst = 'true')"><xsl:apply-templates select="eigentuemer"/></xsl:if>
    </Grundstueck>
  </xsl:template>
</xsl:stylesheet>
