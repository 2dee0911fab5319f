<?xml version="1.0" encoding="UTF-8"?>
<!-- The notice for whatever connects to the accounts. How a system outside of Amt24 posts into an account is not published, so
     this carries what is known of all ways: "nachricht" has the names of Amt24's own service (NachrichtVersendenService), "postfach"
     those of its PostfachV1 (BUND, ELSTER, SERVICEPORTAL). The envelope names no type: the municipality's parameter
     postfach-typ does. "senden" is false without consent or without an account; the data stays for the record. -->
<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:xs="http://www.w3.org/2001/XMLSchema"
                xmlns="http://www.w3.org/2005/xpath-functions" exclude-result-prefixes="#all" expand-text="yes">
  <xsl:import href="mitteilung.xsl"/>
  <xsl:output method="text" encoding="UTF-8"/>

  <xsl:param name="postfach-typ" as="xs:string" select="''"/>

  <xsl:variable name="hindernis" as="xs:string?"
                select="if ($handle = '') then 'Die Nachricht nennt kein Postfach.'
                        else if (not($rueckkanal/*:elektronischeMitteilung = 'true')) then 'Es liegt keine Zustimmung vor.' else ()"/>

  <xsl:template match="/">
    <xsl:variable name="mitteilung">
      <map>
        <string key="art">mitteilung</string>
        <number key="fassung">1</number>
        <boolean key="senden">{empty($hindernis)}</boolean>
        <xsl:if test="$hindernis"><string key="grund">{$hindernis}</string></xsl:if>
        <map key="vorgang">
          <string key="id">{$message/@id}</string>
          <string key="ags">{$message/@ags}</string>
          <string key="dienst">{$message/@service}</string>
          <string key="eingang">{$message/@received}</string>
          <boolean key="test">{$message/@test}</boolean>
        </map>
        <map key="postfach">
          <string key="handle">{$handle}</string>
          <xsl:if test="$postfach-typ"><string key="type">{$postfach-typ}</string></xsl:if>
        </map>
        <map key="zustimmung">
          <boolean key="elektronischeMitteilung">{$rueckkanal/*:elektronischeMitteilung = 'true'}</boolean>
          <boolean key="elektronischerBescheid">{$rueckkanal/*:elektronischerBescheid = 'true'}</boolean>
        </map>
        <map key="nachricht">
          <string key="empfaenger">{$handle}</string>
          <string key="absender">{$behoerde}</string>
          <string key="betreff">{$betreff}</string>
          <string key="text">{string-join($absaetze, '&#10;&#10;')}</string>
          <array key="anhaenge"/>
        </map>
      </map>
    </xsl:variable>
    <xsl:value-of select="xml-to-json($mitteilung, map{'indent': true()})"/>
    <xsl:text>&#10;</xsl:text>
  </xsl:template>
</xsl:stylesheet>
